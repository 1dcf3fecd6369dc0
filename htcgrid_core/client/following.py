"""Following a session while it runs: what is committed, page by page and task by task, until its end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from htcgrid_core.codecs.tasks import TaskPage, task_of
from htcgrid_core.domain.errors import GridError, WaitTimeout
from htcgrid_core.domain.lifecycle import TaskState
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.patience import Patience
from htcgrid_core.domain.session import SessionRecord, SessionSpec
from htcgrid_core.gateway.protocol import Waiter


class Followed(Protocol):
    """What is followed of a session, and means what it means there."""

    @property
    def id(self) -> str:
        """The session's id."""

    @property
    def record(self) -> SessionRecord:
        """Its row, as of the last look."""

    @property
    def spec(self) -> SessionSpec:
        """What was asked for."""

    def done(self) -> bool:
        """Look whether it has ended."""

    def waiter(self) -> Waiter:
        """What waits for news of the grid."""

    def encoded_pages(self, cursor: int) -> Iterator[TaskPage]:
        """What is committed behind a cursor."""

    def pages_until_end(self, timeout: float | None) -> Iterator[TaskPage]:
        """What is committed, until the end."""


def pages_until_end(
    session: Followed,
    timeout: float | None,
    patience: Patience,
    timed_out: Callable[[str], WaitTimeout],
    *,
    progress: bool,
) -> Iterator[TaskPage]:
    """See ``Session.pages_until_end``.

    Args:
        patience: of the session, with a grid that cannot be read for a while.
        timed_out: what is raised when the time is over.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    cursor = 0
    with session.waiter() as waiter, _bar(session, progress) as show:
        while True:
            is_read = False
            try:
                ended = session.done()  # read before the pages: what is committed later is seen by the next round
                show(session.record)
                for page in session.encoded_pages(cursor):
                    cursor = page.cursor
                    yield page
                is_read = True
            except GridError as error:
                patience.bear(error)
            else:
                patience.rewarded()
                if ended:
                    return
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise timed_out("has not ended")
            if is_read:
                waiter.wait(left, (session.id,))
            else:
                patience.pause(left)


def as_completed(session: Followed, timeout: float | None) -> Iterator[TaskOutcome]:
    """See ``Session.as_completed``."""
    seen = bytearray()
    for page in session.pages_until_end(timeout):
        for outcome in page.outcomes:
            if outcome.index >= len(seen):
                seen.extend(bytes(outcome.index + 1 - len(seen)))
            seen[outcome.index] = 1
            yield task_of(session.spec, outcome, page.agent)  # and nothing here keeps its result
    seen.extend(bytes(session.record.counters.total - len(seen)))
    yield from (TaskOutcome(index, TaskState.CANCELLED) for index, known in enumerate(seen) if not known)


@contextlib.contextmanager
def _bar(session: Followed, wanted: bool) -> Iterator[Callable[[SessionRecord], None]]:
    """Shows a row of this session, if that is wanted."""
    if not wanted:
        yield lambda _: None
        return
    from htcgrid_core.client.progress_bar import Bar

    with Bar(session.record) as bar:
        yield bar.update
