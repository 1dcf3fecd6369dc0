"""Tasks: in index order, in the order of their completion, by state, and one by one; in bounded memory."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from itertools import islice

import orjson
from starlette.responses import Response

from htcgrid_core.api import models, views
from htcgrid_core.api.call import Call, Handler
from htcgrid_core.api.operations import BYTES, JSON, NDJSON
from htcgrid_core.api.parts import PARTS, Cursor, Part, parts
from htcgrid_core.api.streams import Pieces
from htcgrid_core.codecs import wire
from htcgrid_core.codecs.wire import NEXT, RAW
from htcgrid_core.domain.lifecycle import TaskState
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.session import SessionRecord

EVENTS_A_FRAME = 512
FRAME_BYTES = 1 << 20
TASKS_A_FRAME = 1000
ZIPPED_BYTES = 1024  # of states, for those who accept gzip: packed once for all who look
_WITH_OUTCOME = (TaskState.COMPLETED, TaskState.FAILED)


async def _record(call: Call) -> SessionRecord:
    return await call.run(call.service.grid.session, call.session_id)


def _is_pickled(record: SessionRecord) -> bool:
    return record.parsed_spec().codec == "pickle"


async def _results(call: Call) -> Response:
    record, query = await _record(call), call.query

    def found() -> Pieces:
        wanted = call.gateway.outcomes(record, query.start)
        outcomes = wanted if query.limit is None else islice(wanted, query.limit)
        if call.is_raw:
            yield from wire.framed_ordered(outcomes)
            return
        pickled = _is_pickled(record)
        gap = TaskState.CANCELLED if record.ended else TaskState.QUEUED
        for index, outcome in outcomes:
            if outcome is None:
                yield views.gap_line(index, gap), index + 1
            else:
                outcome.index = index
                yield views.outcome_line(outcome, pickled=pickled), index + 1

    return await call.stream(RAW if call.is_raw else NDJSON, found(), _next_of(record, query))


def _next_of(record: SessionRecord, query: models.ResultsQuery) -> dict[str, str]:
    """Where the next page of as many begins, if there is one."""
    stop = record.counters.total if query.limit is None else query.start + query.limit
    return {NEXT: str(stop)} if stop < record.counters.total else {}


async def _outcomes(call: Call) -> Response:
    record, query = await _record(call), call.query
    pieces = _committed(call, record, Cursor.read(query.cursor), None, query.limit)
    return await call.stream(RAW if call.is_raw else NDJSON, pieces)


def _committed(
    call: Call, record: SessionRecord, begin: Cursor, state: TaskState | None, limit: int | None, sort: str = ""
) -> Generator[tuple[bytes | None, object], None, int | None]:
    """Whole pages, until there are so many tasks; returns how many of them are still wanted, None for all."""
    page_bytes = call.service.settings.page_bytes
    part_bytes = None if page_bytes is None else page_bytes // PARTS
    left = limit
    for part in parts(call.service.grid.pages(record, begin.page, state), begin, part_bytes):
        yield from _pieces(call, record, part, sort)
        if left is not None:
            left -= sum(1 for _ in part.page.outcomes)
            if left <= 0 and part.is_last:
                yield None, f"{sort}{part.behind}"
                return 0
    return left


def _pieces(call: Call, record: SessionRecord, part: Part, sort: str = "") -> Pieces:
    behind = f"{sort}{part.behind}"
    if call.is_raw:
        yield wire.framed_page(part.page, wire.PAGE if part.is_last else wire.PART), behind
        return
    pickled = _is_pickled(record)
    yield b"", behind  # also if no task of it was asked for
    for outcome in part.page.outcomes:
        yield views.outcome_line(outcome, pickled=pickled, agent=part.page.agent, cursor=behind), behind


async def _tasks(call: Call) -> Response:
    record, query = await _record(call), call.query
    pieces = _task_pieces(call, record, query.state, query.cursor or "c0", query.limit)
    return await call.stream(RAW if call.is_raw else NDJSON, pieces)


def _task_pieces(call: Call, record: SessionRecord, state: TaskState | None, cursor: str, limit: int | None) -> Pieces:
    """First those that have an outcome (cursors ``cCURSOR``), then the others (``nN``: from task N on)."""
    sort, place = cursor[0], cursor[1:]
    left = limit
    if sort == "c" and state in (None, *_WITH_OUTCOME):
        left = yield from _committed(call, record, Cursor.read(place), state, limit, "c")
        if left == 0:
            return
    start = int(place) if sort == "n" else 0
    others = islice(call.service.grid.without_outcome(record, state, start), left)
    count = 0
    if call.is_raw:
        while some := list(islice(others, TASKS_A_FRAME)):
            start, count = some[-1].index + 1, count + len(some)
            yield wire.framed_tasks(some), f"n{start}"
    else:
        for task in others:
            start, count = task.index + 1, count + 1
            yield views.task_line(task, f"n{start}"), f"n{start}"
    if count == left:
        yield None, f"n{start}"


async def _task(call: Call) -> Response:
    record, index = await _record(call), call.number("index")

    def found() -> bytes:
        task = call.gateway.task(record, index)
        if call.is_raw:
            frame = wire.framed_tasks([task]) if isinstance(task, TaskOutcome) else wire.framed_page(task)
            return frame + wire.framed(wire.END, b"")
        if isinstance(task, TaskOutcome):
            return views.task_line(task)
        (outcome,) = task.outcomes
        return views.outcome_line(outcome, pickled=_is_pickled(record), agent=task.agent)

    return Response(await call.run(found), media_type=RAW if call.is_raw else JSON)


async def _attempts(call: Call) -> Response:
    record, index = await _record(call), call.number("index")
    found = await call.run(call.service.grid.attempts, record, index)
    return Response(views.attempts_body(found), media_type=JSON)


async def _states(call: Call) -> Response:
    record = await _record(call)
    accepts_gzip = "gzip" in call.request.headers.get("accept-encoding", "")

    def found() -> tuple[str, bytes, bool]:
        seen = call.service.grid.task_states(record)
        zips = accepts_gzip and len(seen.codes) >= ZIPPED_BYTES
        return f'"{seen.tag}{"-gzip" if zips else ""}"', seen.zipped if zips else seen.codes, zips

    tag, data, is_zipped = await call.run(found)
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Accept-Encoding"}
    if call.request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=BYTES, headers={**headers, **({"Content-Encoding": "gzip"} if is_zipped else {})})


async def _timings(call: Call) -> Response:
    record = await _record(call)
    return call.answer(views.timed(await call.run(call.service.grid.timings, record)))


async def _events(call: Call) -> Response:
    record, query = await _record(call), call.query

    def found() -> Pieces:
        wanted = call.gateway.events(record, query.start)
        events = wanted if query.limit is None else islice(wanted, query.limit)
        if call.is_raw:
            yield from _event_frames(events, query.start)
            return
        pickled = _is_pickled(record)
        for behind, event in enumerate(events, query.start + 1):
            line = b"null\n" if pickled else orjson.dumps(views.public_json(event), option=orjson.OPT_APPEND_NEWLINE)
            yield line, behind

    return await call.stream(RAW if call.is_raw else NDJSON, found(), _next_of(record, query))


def _event_frames(events: Iterator[bytes], start: int) -> Pieces:
    some: list[bytes] = []
    size, behind = 0, start
    for event in events:
        if some and (len(some) >= EVENTS_A_FRAME or size + len(event) > FRAME_BYTES):
            yield wire.framed(wire.EVENTS, wire.packed_events(some)), behind
            some, size = [], 0
        some.append(event)
        size += len(event)
        behind += 1
    if some:
        yield wire.framed(wire.EVENTS, wire.packed_events(some)), behind


HANDLERS: Mapping[str, Handler] = {
    "results": _results,
    "outcomes": _outcomes,
    "tasks": _tasks,
    "task_states": _states,
    "timings": _timings,
    "task": _task,
    "task_attempts": _attempts,
    "events": _events,
}
