"""Waiting: long polls, server-sent events, and ends for those who keep asking."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence

from starlette.responses import Response, StreamingResponse

from htcgrid_core.api import models, views
from htcgrid_core.api.call import Call, Handler
from htcgrid_core.api.failure import Failure
from htcgrid_core.api.news import Watch
from htcgrid_core.api.operations import SSE
from htcgrid_core.codecs import problems
from htcgrid_core.codecs.wire import results_text, version_of
from htcgrid_core.domain.ended import EndedPage
from htcgrid_core.domain.errors import GridError
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session import SessionRecord, tenant_of

ALIVE_SECONDS = 15.0  # between comments of a silent stream, so that nobody on the way takes it for dead
REST_SECONDS = 0.1  # between two events of one stream
AGAIN = b"retry: 100\n\n"  # milliseconds after which a client comes again
AT_ONCE = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # or nginx keeps events until it has many


async def _wait(call: Call) -> Response:
    body = await call.model(models.Wait)
    mine = [one for one in body.sessions if call.principal.serves(tenant_of(one))]
    news, deadline = call.service.news, time.monotonic() + body.timeout
    with news.watch(mine) as watch:
        if mine:
            await watch.first()
        before = news.count if body.news is None else body.news
        while not (done := _has_come(body, watch, news.count != before)):
            left = deadline - time.monotonic()
            if left <= 0 or call.service.stopping.is_set():
                break
            await watch.next(left)
    records = [watch.records[one] for one in mine if one in watch.records]
    if call.is_raw:
        results = await _few_results(call, body, records)
        return call.raw({"done": done, "rows": views.rows(records), "news": news.count, **results})
    shown = [views.session(one) for one in records]
    return call.answer(models.Waited(done=done, news=news.count, sessions=shown))


async def _few_results(call: Call, body: models.Wait, records: Sequence[SessionRecord]) -> dict[str, str]:
    """Those of one session that has ended, with its end: whoever waits for that mostly asks for them next."""
    if body.until == "change" or len(records) != 1 or records[0].state is not SessionState.COMPLETED:
        return {}
    try:
        found = await call.run(call.service.grid.few_results, records[0])
    except GridError:  # whoever asks for them is told
        return {}
    return {} if found is None else {"results": results_text(found)}


def _has_come(body: models.Wait, watch: Watch, is_news: bool) -> bool:
    found = watch.records
    if body.sessions and not watch.session_ids:
        return True  # none of them is there
    if body.until == "change":
        if not body.sessions:
            return is_news
        changed = any(body.seen.get(one) != version_of(record) for one, record in found.items())
        return changed or len(found) < len(watch.session_ids)
    ended = [record.ended for record in found.values()]
    return any(ended) or not ended if body.until == "any" else all(ended)


async def _watch(call: Call) -> Response:
    session_id, query = call.session_id, call.query
    record = await call.run(call.service.grid.session, session_id)
    seen = call.request.headers.get("last-event-id")
    streams = call.service.settings.page_bytes is None
    timeout = query.timeout if streams else min(query.timeout, models.WAIT_SECONDS)
    events = _events(call, record, seen, timeout, once=not streams)
    return StreamingResponse(events, media_type=SSE, headers=AT_ONCE)


async def _events(
    call: Call, record: SessionRecord, seen: str | None, timeout: float, *, once: bool
) -> AsyncIterator[bytes]:
    """Events until the end.

    Args:
        once: until one of them: where an answer is sent as a whole, clients come again behind it, as they do when a
            stream has broken off.
    """
    session_id, deadline = record.session_id, time.monotonic() + timeout
    if once:
        yield AGAIN
    with call.service.news.watch([session_id]) as watch:
        while True:
            if version_of(record) != seen:
                seen = version_of(record)
                yield _event(record, seen)
                if once:
                    return
            left = deadline - time.monotonic()
            if record.ended or left <= 0 or call.service.stopping.is_set():
                return
            if not await watch.next(min(left, ALIVE_SECONDS)):
                yield b": \n\n"
            elif session_id in watch.records:
                record = watch.records[session_id]
            elif not watch.unread:
                return  # its retention time has passed
            await asyncio.sleep(max(REST_SECONDS, call.query.every))


def _event(record: SessionRecord, version: str) -> bytes:
    name = "end" if record.ended else "progress"
    return f"event: {name}\nid: {version}\ndata: {views.session(record).model_dump_json()}\n\n".encode()


async def _ended(call: Call) -> Response:
    query = call.query
    page, records = await call.run(_page_of_ends, call, query)
    if call.is_raw:
        ends = [[end.session_id, end.at] for end in page.ends]
        told = {"ends": ends, "cursor": page.cursor, "more": page.more, "round_over": page.round_over}
        return call.raw(told)
    shown = [views.session(one) for one in records]
    return call.answer(
        models.Ended(sessions=shown, next_cursor=page.cursor, more=page.more, round_over=page.round_over)
    )


def _page_of_ends(call: Call, query: models.EndedQuery) -> tuple[EndedPage, list[SessionRecord]]:
    grid = call.service.grid
    after: str | float = query.after if query.after is not None else time.time()
    if query.cursor is not None:
        opened = grid.opened_text(query.cursor)
        if opened is None:
            raise Failure(problems.NOT_FOUND, "no page begins at this cursor: give next_cursor as it was, or a time")
        after = opened
    page = call.gateway.ended(after, query.limit)
    ends = tuple(end for end in page.ends if call.principal.serves(tenant_of(end.session_id)))
    mine = EndedPage(ends, grid.sealed_text(page.cursor), page.more, page.round_over)
    if call.is_raw or not ends:
        return mine, []
    return mine, call.gateway.progress([*dict.fromkeys(end.session_id for end in ends)])


HANDLERS: Mapping[str, Handler] = {"wait": _wait, "watch_session": _watch, "ended": _ended}
