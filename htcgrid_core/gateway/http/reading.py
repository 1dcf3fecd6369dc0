"""Reading a session's tasks and events: streams that are taken up again where they broke off."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.codecs.tasks import TaskPage
from htcgrid_core.codecs.wire import Frame, Tasks, ordered_of, unpacked_events
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.domain.lifecycle import TaskState
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.patience import PASSING, Patience
from htcgrid_core.gateway.http.asks import Ask, path
from htcgrid_core.gateway.http.transport import Transport

T = TypeVar("T")

_log = logging.getLogger(__name__)


def stream(*parts: str, **query: Any) -> Ask[None]:
    """An ask whose answer is frames."""
    return Ask("GET", path("sessions", *parts, **query), lambda _: None)


def lines(transport: Transport, *parts: str, **query: Any) -> Iterator[bytes]:
    """The lines of an answer that is not of a session, each with its end; one try."""
    left = b""
    for chunk in transport.chunks(Ask("GET", path(*parts, **query), lambda _: None)):
        *whole, left = (left + chunk).split(b"\n")
        yield from (line + b"\n" for line in whole)
    if left:
        yield left


def pages(transport: Transport, session_id: str, cursor: int) -> Iterator[TaskPage]:
    """What was committed after a cursor and until now; whoever asks goes on behind the page that he has."""
    for found in _paged(transport, session_id, "outcomes", cursor=str(cursor)):
        assert isinstance(found, TaskPage)
        yield found


def tasks(transport: Transport, session_id: str, state: TaskState | None) -> Iterator[TaskPage | TaskOutcome]:
    """All tasks, or those in one state."""
    return _paged(transport, session_id, "tasks", state=state)


def _paged(transport: Transport, session_id: str, what: str, **query: Any) -> Iterator[TaskPage | TaskOutcome]:
    read = Tasks()
    more = True
    while more:
        more = False
        for found in transport.frames(stream(session_id, what, **query)):
            if isinstance(found, str):
                query["cursor"], more = found, True
            else:
                yield from read.of(found)


def task(transport: Transport, session_id: str, index: int) -> TaskPage | TaskOutcome:
    """One task."""
    found = [one for one in transport.frames(stream(session_id, "tasks", str(index))) if isinstance(one, Frame)]
    if len(found) != 1:
        raise CorruptPayload(f"{transport.address.url} answers with {len(found)} frames for one task")
    (one,) = Tasks().of(found[0])
    return one


def outcomes(transport: Transport, session_id: str, start: int) -> Iterator[tuple[int, Outcome | None]]:
    """Every task's outcome in index order."""
    return _resumed(transport, session_id, "results", start, ordered_of)


def events(transport: Transport, session_id: str, start: int) -> Iterator[bytes]:
    """The events in index order."""
    return _resumed(transport, session_id, "events", start, lambda body: unpacked_events(body)[0])


def _resumed(
    transport: Transport, session_id: str, what: str, begin: int, items: Callable[[bytes], Iterable[T]]
) -> Iterator[T]:
    """One item for each task, in index order; what breaks off is taken up again behind the last one."""
    patience = Patience(monotonic=time.monotonic, sleep=time.sleep, say=_log.warning)
    while True:
        more = None
        try:
            for found in transport.frames(stream(session_id, what, start=begin)):
                if isinstance(found, str):
                    more = found
                    continue
                for item in items(found.body):
                    begin += 1
                    yield item
                patience.rewarded()
        except PASSING as error:
            patience.bear(error)
            patience.pause()
        else:
            if more is None:
                return
            begin = int(more)
