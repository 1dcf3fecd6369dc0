"""Results: pages in commit order while a session runs, tasks in index order at its end, both in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from typing import Any

from htcgrid_core.codecs import frames
from htcgrid_core.codecs import outcomes as codec
from htcgrid_core.codecs.outcomes import Outcome, decode_error
from htcgrid_core.codecs.values import DECODERS
from htcgrid_core.domain.bundle import Bundle
from htcgrid_core.domain.lifecycle import SessionState, TaskState
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.session import SessionRecord, SessionSpec
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import OutcomePage
from htcgrid_core.services import payloads
from htcgrid_core.services.bundling import EncodedEvent
from htcgrid_core.services.call_retries import with_retries
from htcgrid_core.services.range_reads import RangeReader, range_pays

PAGES_AT_ONCE = 16
ROOTS_AT_ONCE = 8


def page_outcomes(plane: Plane, session_id: str, spec: SessionSpec, page: OutcomePage) -> codec.Outcomes:
    """The outcomes of one page, verified."""
    return codec.unpack(payloads.load(plane, session_id, spec, payloads.OUTCOMES, page.payload))


def some_outcomes(
    plane: Plane, session_id: str, spec: SessionSpec, page: OutcomePage, wanted: Callable[[int, bool], bool]
) -> list[Outcome]:
    """The outcomes of one page of which ``wanted(index, failed)`` is true; of a large page no more is read."""
    if range_pays(page.payload):
        found = codec.unpack_some(RangeReader(plane, session_id, spec, payloads.OUTCOMES, page.payload), wanted)
    else:
        found = page_outcomes(plane, session_id, spec, page)
    return [outcome for outcome in found if wanted(outcome.index, outcome.failed)]


def task_of(spec: SessionSpec, outcome: Outcome, agent: str = "") -> TaskOutcome:
    """An outcome as a user sees it, decoded."""
    return TaskOutcome(
        index=outcome.index,
        state=TaskState.FAILED if outcome.failed else TaskState.COMPLETED,
        attempts=outcome.attempt,
        result=None if outcome.failed else DECODERS[spec.codec](outcome.payload),
        error=decode_error(outcome.payload, signed=spec.codec == "pickle") if outcome.failed else None,
        agent=agent,
        started_at=outcome.started,
        duration_seconds=outcome.seconds,
        stdout=outcome.stdout,
        stderr=outcome.stderr,
    )


def pages_after(plane: Plane, session_id: str, cursor: int, *, failed_only: bool = False) -> list[OutcomePage]:
    """The next pages in commit order."""
    return with_retries(
        plane,
        lambda: plane.store.outcome_pages(session_id, cursor, PAGES_AT_ONCE, failed_only=failed_only),
    )


def failures(plane: Plane, record: SessionRecord, spec: SessionSpec, limit: int) -> list[TaskOutcome]:
    """The first failed tasks in commit order, at most ``limit``."""
    found: list[TaskOutcome] = []
    cursor = 0
    while len(found) < limit and (pages := pages_after(plane, record.session_id, cursor, failed_only=True)):
        for page in pages:
            outcomes = some_outcomes(plane, record.session_id, spec, page, lambda _, failed: failed)
            found.extend(task_of(spec, outcome, page.agent) for outcome in outcomes)
            cursor = page.cursor
    return found[:limit]


def in_index_order(plane: Plane, record: SessionRecord, spec: SessionSpec) -> Iterator[tuple[int, Outcome | None]]:
    """(index, outcome) of every task; None for one that has no outcome (yet, or for ever if cancelled)."""
    root = 0
    while record.bundles < 0 or root < record.bundles:
        tasks = _tasks_of_roots(plane, record, root)
        if not tasks:
            return  # of a session that was never acknowledged, what was written
        last = max(tasks) + 1
        pages = with_retries(plane, partial(plane.store.root_pages, record.session_id, root, last))
        by_root = {number: list(group) for number, group in groupby(pages, key=lambda page: page.root)}
        for number, indexes in tasks.items():
            found = {
                outcome.index: outcome
                for page in by_root.get(number, ())
                for outcome in page_outcomes(plane, record.session_id, spec, page)
            }
            for index in indexes:
                yield index, found.get(index)
        root = last


def _tasks_of_roots(plane: Plane, record: SessionRecord, first_root: int) -> dict[int, range]:
    """The tasks of the next few root bundles."""
    if record.bundles == 1:
        return {0: range(record.counters.total)}
    blocks = with_retries(
        plane, partial(plane.store.blocks, record.session_id, first_root, ROOTS_AT_ONCE, events=False)
    )
    return {block.root: range(block.first_index, block.first_index + block.count) for block in blocks}


def unfinished_events(plane: Plane, record: SessionRecord, spec: SessionSpec) -> Iterator[EncodedEvent]:
    """The encoded events of the tasks of an ended session that are not COMPLETED, in index order."""
    events: frames.Frames | None = None
    first = count = root = 0
    offsets: list[int] = []
    for index, outcome in in_index_order(plane, record, spec):
        if outcome is not None and not outcome.failed:
            continue
        while events is None or index >= first + count:
            (block,) = with_retries(plane, partial(plane.store.blocks, record.session_id, root, 1))
            first, count, root = block.first_index, block.count, root + 1
            if index < first + count:
                packed = payloads.load(plane, record.session_id, spec, payloads.EVENTS, block.payload)
                events = frames.unpack(packed)
                offsets = events.offsets()
        yield EncodedEvent(events.data[offsets[index - first] : offsets[index - first + 1]], events.shared)


def events_in_order(plane: Plane, record: SessionRecord, spec: SessionSpec) -> Iterator[Any]:
    """Every event in index order, decoded; references to shared inputs stay references."""
    root = 0
    while blocks := with_retries(plane, partial(plane.store.blocks, record.session_id, root, ROOTS_AT_ONCE)):
        for block in blocks:
            packed = payloads.load(plane, record.session_id, spec, payloads.EVENTS, block.payload)
            yield from map(DECODERS[spec.codec], frames.unpack(packed).payloads())
        root = blocks[-1].root + 1


def open_tasks(plane: Plane, record: SessionRecord) -> Iterator[TaskOutcome]:
    """The tasks that have no outcome, from the bundles they are in; empty for an ended session."""
    after = ""
    while bundles := with_retries(plane, partial(plane.store.open_bundles, record.session_id, after, 100)):
        for found in bundles:
            state = _open_state(record, found.bundle, leased=found.lease is not None)
            for index in found.bundle.indexes:
                retried = state is TaskState.QUEUED and index in found.bundle.failures
                yield TaskOutcome(
                    index=index,
                    state=TaskState.RETRY if retried else state,
                    attempts=found.bundle.attempt(index) - (found.lease is None),
                    agent=found.lease.owner if found.lease else "",
                )
            after = found.bundle.bundle_id


def _open_state(record: SessionRecord, bundle: Bundle, *, leased: bool) -> TaskState:
    if record.state is SessionState.SUBMITTED:
        return TaskState.SUBMITTED
    return TaskState.RUNNING if leased else TaskState.QUEUED
