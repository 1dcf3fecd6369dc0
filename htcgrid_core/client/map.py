"""``map``: results in order while a session runs. Tasks come in the order of their commits, gaps are waited for."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from htcgrid_core.client.session import Session
from htcgrid_core.client.task_errors import exception_of
from htcgrid_core.client.vectors import check_no_table, check_vector
from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.codecs.tasks import TaskPage, result_of, task_of
from htcgrid_core.domain.errors import GRID_FAILURES, InvalidInput
from htcgrid_core.domain.lifecycle import TaskState
from htcgrid_core.domain.outcome import TaskOutcome


def calls_of(iterables: Sequence[Iterable[Any]]) -> Iterator[list[Any]]:
    """The calls of a map, as long as its shortest iterable.

    Raises:
        InvalidInput: there is no iterable, or one is a table or none.
    """
    if not iterables:
        raise InvalidInput("map needs at least one iterable")
    for iterable in iterables:
        check_no_table(iterable)
        if isinstance(iterable, int) or not (isinstance(iterable, Iterable) or hasattr(type(iterable), "__getitem__")):
            check_vector(iterable)  # which says what to write instead; texts and mappings are taken as by the built-in
    return ([args, {}] for args in zip(*iterables, strict=False))


def map_results(session: Session, deadline: float | None, *, progress: bool = False) -> Iterator[Any]:
    """Yield results by index; those that came too early are held, encoded or unread, until their turn.

    Whoever stops taking results, or is stopped by a failure, has no use for the rest: the session is cancelled. But not
    if the grid cannot be reached: it goes on, and its results can be had later.

    Args:
        deadline: monotonic time until which the last one has to be there; None for ever.
        progress: show a progress bar while they are taken.

    Raises:
        What the callable raised, with the worker's traceback as its cause; TaskFailed if that is not to be had.
    """
    early: dict[int, Outcome] = {}
    turn, is_lost = 0, False

    def pages() -> Iterator[TaskPage]:
        nonlocal is_lost
        try:
            left = None if deadline is None else deadline - time.monotonic()
            yield from session.pages_until_end(left, progress=progress)
        except GRID_FAILURES:
            is_lost = True
            raise

    try:
        for page in pages():
            for outcome in page.outcomes:
                early[outcome.index] = outcome
                while (due := early.pop(turn, None)) is not None:
                    if due.failed:
                        raise exception_of(session.id, task_of(session.spec, due))
                    turn += 1
                    yield result_of(session.spec, due)  # and nothing here keeps what it gives away
        if turn < session.progress().total:
            raise exception_of(session.id, TaskOutcome(turn, TaskState.CANCELLED))
    finally:
        if not is_lost and not session.done():
            session.cancel("its results are not taken any more")
