"""Combining: results are put together where their tasks ran, before anything is sent on."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from htcgrid_core.client.callables import call_of
from htcgrid_core.client.event_source import events_as
from htcgrid_core.client.progress import Progress
from htcgrid_core.codecs.events import data_of, encoded_by
from htcgrid_core.codecs.values import ENCODERS
from htcgrid_core.domain.errors import InvalidEvent, InvalidInput, SessionFailed, TaskFailed
from htcgrid_core.domain.printable import printable
from htcgrid_core.domain.retry import RetryPolicy
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.reducers.base import Reducer

MAX_EVENTS = 1024  # of one task
SEEN_SHARE = 1024  # a task has this share of the events before it, so that agents have even work whatever they number
MAX_BYTES = 1 << 20  # of the events of one task, by the first of them
Errors = Literal["raise", "skip"]


class Ended(Protocol):
    """What an ended session is to whoever reduces its results."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def spec(self) -> SessionSpec:
        """What was submitted."""

    def results(self, *, errors: Literal["raise", "return"] = "raise") -> Iterator[Any]:
        """Its results by index."""

    def progress(self) -> Progress:
        """How far it is."""

    def raise_for_state(self) -> None:
        """Raise unless it is COMPLETED."""


@dataclass(slots=True)
class Partial:
    """What a task returns.

    Attributes:
        state: of its events' results.
        failed: how many of its events have none.
        example: the first of these, and why.
    """

    state: Any
    failed: int = 0
    example: str = ""


class Combined:
    """What a task runs: a function on each event of a chunk, and a reducer on what it returns.

    A task has one outcome, however often it was run, so that no event counts twice.
    """

    def __init__(self, function: Callable[..., Any], reducer: Reducer[Any, Any], skipping: RetryPolicy | None) -> None:
        self.__module__ = getattr(function, "__module__", None) or type(function).__module__
        self.__qualname__ = getattr(function, "__qualname__", None) or type(function).__qualname__
        self._function, self._reducer, self._skipping = function, reducer, skipping
        self._takes_context = call_of(function) == "handler"

    def __call__(self, chunk: tuple[int, list[Any]], context: Any) -> Partial:
        """Run a chunk: the number of its first event, and its events."""
        first, events = chunk
        partial = Partial(self._reducer.zero())
        more = (context,) if self._takes_context else ()
        for index, event in enumerate(events, first):
            try:
                partial.state = self._reducer.add(partial.state, self._function(event, *more))
            except (Exception, SystemExit) as error:  # whatever the function raises
                policy = self._skipping
                if policy is None or policy.allows(context.attempt, type(error).__name__):
                    error.add_note(f"of event {index:,}")
                    raise
                partial.failed += 1
                partial.example = partial.example or f"event {index:,}: {type(error).__name__}: {error}"
        return partial


class Chunks:
    """Events as the tasks of ``Combined`` get them.

    Attributes:
        sizes: how many events each task has, of those that were taken.
    """

    def __init__(self, events: Iterable[Any], size: int | None) -> None:
        self.sizes: list[int] = []
        self._events, self._size = events, size

    def __iter__(self) -> Iterator[tuple[int, list[Any]]]:
        self.sizes.clear()
        seen, wanted = 0, 0
        chunk: list[Any] = []
        for event in events_as("pickle", self._events):
            if not chunk:
                wanted = self._wanted(seen, event)
            chunk.append(event)
            if len(chunk) >= wanted:
                yield self._noted(seen, chunk)
                seen, chunk = seen + len(chunk), []
        if chunk:
            yield self._noted(seen, chunk)

    def _wanted(self, seen: int, event: Any) -> int:
        if self._size is not None:
            return self._size
        by_count = max(1, min(MAX_EVENTS, seen // SEEN_SHARE))
        if by_count == 1:
            return 1
        try:
            data = data_of(encoded_by(ENCODERS["pickle"], event))
        except Exception as error:  # whatever the event's own encoding raises
            raise InvalidEvent(seen, f"it cannot be pickled ({type(error).__name__}: {error})") from error
        return max(1, min(by_count, MAX_BYTES // len(data)))

    def _noted(self, first: int, chunk: list[Any]) -> tuple[int, list[Any]]:
        self.sizes.append(len(chunk))
        return first, chunk


@dataclass(slots=True)
class Skipped:
    """Events without a result: how many, and the first of them."""

    count: int = 0
    example: str = ""

    def add(self, count: int, example: str) -> None:
        """Some more."""
        self.count += count
        self.example = self.example or example

    def check(self, session: Ended, events: int) -> None:
        """Say that events are left out.

        Raises:
            SessionFailed: they are more than ``max_failures`` tolerates.
        """
        if not self.count:
            return
        tolerated = session.spec.tolerated_failures(events) or 0
        said = f"{self.count:,} of {events:,} events failed; the first is {self.example}"
        if self.count > tolerated:
            state = str(session.progress().state)
            raise SessionFailed(session.id, state, f"{said}; max_failures tolerates {tolerated:,}", [], [])
        warnings.warn(printable(f"left out of the reduction: {said}"), stacklevel=5)


def reduced(session: Ended, reducer: Reducer[Any, Any], sizes: list[int] | None, errors: Errors) -> Any:
    """What a reducer makes of an ended session's results, one after the other in the order of the events.

    Args:
        sizes: how many events each task had, of tasks that are ``Combined``; None if results are values.
    """
    if errors == "skip":
        session.raise_for_state()  # more failed than max_failures tolerates
    state, skipped, tasks = reducer.zero(), Skipped(), 0
    for result in session.results(errors="raise" if errors == "raise" else "return"):
        if isinstance(result, TaskFailed):
            skipped.add(1 if sizes is None else sizes[tasks], str(result))
        elif sizes is not None:
            state = reducer.merge(state, result.state)
            skipped.add(result.failed, result.example)
        else:
            try:
                state = reducer.add(state, result)
            except (TypeError, ValueError, ArithmeticError) as error:
                why = f"event {tasks:,}: {type(error).__name__}: {error}"
                if errors == "raise":
                    raise InvalidInput(f"session {session.id} cannot be reduced: {why}") from error
                skipped.add(1, why)
        tasks += 1
    skipped.check(session, tasks if sizes is None else sum(sizes))
    return reducer.finish(state)
