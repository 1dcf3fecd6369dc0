"""Writing a session's results into a sink: taken while it runs, beside their events' keys, and committed at its end."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from htcgrid_core.client.files.plain_values import untagged
from htcgrid_core.client.files.result_columns import row_of
from htcgrid_core.client.following import Followed
from htcgrid_core.client.result_files import as_typed_json
from htcgrid_core.client.result_sink import KeyRows, Manifest, NamedSink, ResultRows, ResultSink, Written
from htcgrid_core.client.task_errors import gap_of
from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.codecs.tasks import TaskPage
from htcgrid_core.codecs.values import DECODERS
from htcgrid_core.domain.errors import InvalidInput, NotTabular, TaskFailed


class Finished(Followed, Protocol):
    """What a session is to whoever writes its results."""

    def wait(self, timeout: float | None, *, progress: bool) -> Any:
        """Wait for its end."""

    def events(self) -> Iterator[Any]:
        """Its events by index."""

    def encoded_outcomes(self) -> Iterator[tuple[int, Outcome | None]]:
        """Its outcomes by index, with its parent's."""

    def pages_until_end(self, timeout: float | None, *, progress: bool = False) -> Iterator[TaskPage]:
        """What is committed, until its end."""

    def raise_for_state(self) -> None:
        """Raise unless it is COMPLETED."""


def write(
    session: Finished,
    first: Finished,
    sink: ResultSink,
    *,
    key: str | Sequence[str],
    failures: ResultSink | None,
    name: str | None,
    concat: bool = False,
    timeout: float | None,
    progress: bool,
) -> Manifest:
    """See ``Session.write``.

    Args:
        first: the session that was submitted first, whose tasks this one may run again; the same if it was.
    """
    if concat and key:
        raise InvalidInput("concat=True makes rows of items, which have no event, and so no key")
    check_sinks(sink, failures)
    called = name or first.id
    for one in (sink, failures):
        if isinstance(one, NamedSink):
            one.check_session(called)
    with contextlib.ExitStack() as stack:
        keys = _keys(first, key)
        if keys is not None:
            stack.callback(keys.close)
        results, failed = ResultRows(called, keys), ResultRows(called, keys)
        stack.callback(results.close)
        stack.callback(failed.close)
        sorted_out = _Sorted(session, failed)
        outcomes = in_pages(session, timeout, progress=progress)
        if session is not first or concat:  # as only then they come in the order of their events
            session.wait(timeout, progress=progress)
            outcomes = session.encoded_outcomes()
        completed = sorted_out.completed(outcomes)
        results.put(_item_rows(completed) if concat else (_result_row(*pair) for pair in completed))
        if failures is None and sorted_out.failure is not None:
            session.raise_for_state()
            raise sorted_out.failure  # a tolerated one
        sink.replace(results)
        told = None
        if failures is not None:
            failures.replace(failed)
            told = Written(failures.name, len(failed), failed.digest())
        return Manifest(session.id, called, Written(sink.name, len(results), results.digest()), told)


def check_sinks(sink: ResultSink, failures: ResultSink | None) -> None:
    """Look whether results and failures can be written there, before there are any.

    Raises:
        InvalidInput: they cannot.
    """
    for one in (sink, failures):
        if one is not None:
            _check_sink(one)
    if failures is not None and _place_of(failures) == _place_of(sink):
        raise InvalidInput(
            f"{sink.name}: failures there would replace the results, as both are the rows of one session: "
            "give failures= another place"
        )
    for one in (sink, failures):
        if one is not None:
            one.check()


def _place_of(sink: ResultSink) -> str:
    name = sink.name
    return name.rstrip("/") if "://" in name else os.path.realpath(os.path.expanduser(name))


def _check_sink(sink: object) -> None:
    if not isinstance(sink, ResultSink):
        raise InvalidInput(f"a {type(sink).__name__} is no place for results: give what sink(...) returns")


class _Sorted:
    """Outcomes on their way: results are passed on, failures put where they belong."""

    def __init__(self, session: Finished, failed: ResultRows) -> None:
        self._session, self._codec, self._failed = session, session.spec.codec, failed
        self.failure: TaskFailed | None = None

    def completed(self, outcomes: Iterator[tuple[int, Outcome | None]]) -> Iterator[tuple[int, Any]]:
        """What tasks that completed have returned."""
        decode = DECODERS[self._codec]
        for index, outcome in outcomes:
            if outcome is None or outcome.failed:
                self._fail(index, outcome)
            else:
                yield index, decode(outcome.payload)

    def _fail(self, index: int, outcome: Outcome | None) -> None:
        failure = gap_of(self._session.id, self._codec, index, outcome)
        attempts = 0 if outcome is None else outcome.attempt
        row = {"error_type": failure.error.type, "error_message": failure.error.message, "attempts": attempts}
        self._failed.put(iter([(index, row, as_typed_json(row, index))]))
        self.failure = self.failure or failure


def _item_rows(results: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, dict[str, Any], bytes]]:
    """Rows of the items of lists among the results, and of the others as they are, numbered."""
    items = (item for _, result in results for item in (result if isinstance(result, list) else [result]))
    return (_result_row(number, item) for number, item in enumerate(items))


def _result_row(index: int, result: Any) -> tuple[int, dict[str, Any], bytes]:
    line = as_typed_json(result, index)
    try:
        plain = json.loads(line, object_pairs_hook=untagged)
    except (ValueError, RecursionError) as error:
        raise NotTabular(f"the result of task {index}: {error}") from error
    row = row_of(plain, index)
    return index, row, line if row is plain else as_typed_json(row, index)


def _keys(first: Finished, key: str | Sequence[str]) -> KeyRows | None:
    """What the events have under these names.

    Raises:
        InvalidInput: an event has none.
    """
    names = [key] if isinstance(key, str) and key else list(key)
    if not names:
        return None

    def found() -> Iterator[tuple[int, dict[str, Any], bytes]]:
        for index, event in enumerate(first.events()):
            lacking = [name for name in names if not (isinstance(event, Mapping) and name in event)]
            if lacking:
                raise InvalidInput(f"event {index} of session {first.id} has no {lacking[0]!r} to be its key")
            line = as_typed_json({name: event[name] for name in names}, index)
            yield index, json.loads(line, object_pairs_hook=untagged), line

    keys = KeyRows()
    try:
        keys.put(found())
    except BaseException:
        keys.close()
        raise
    return keys


def in_pages(session: Finished, timeout: float | None, *, progress: bool) -> Iterator[tuple[int, Outcome | None]]:
    """Outcomes as they are committed, and None for each task that has none at the session's end."""
    seen = bytearray()
    for page in session.pages_until_end(timeout, progress=progress):
        for outcome in page.outcomes:
            if outcome.index >= len(seen):
                seen.extend(bytes(outcome.index + 1 - len(seen)))
            if not seen[outcome.index]:
                seen[outcome.index] = 1
                yield outcome.index, outcome
    total = session.record.counters.total
    rest = itertools.chain(seen, itertools.repeat(0, total - len(seen)))
    yield from ((index, None) for index, known in enumerate(rest) if not known)
