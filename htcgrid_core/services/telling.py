"""Telling: whoever comes by tells of sessions that have ended, again until it is heard, and of those that go on.

A row is claimed, the event is sent, the row is settled. What dies in between leaves a row that is due again later,
with the event as it was claimed first: it is told at least once, and never two different ones.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

from htcgrid_core.codecs.outcomes import decode_error
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import CorruptPayload, GridError, IncompatibleGrid
from htcgrid_core.domain.notification import (
    PATIENCE_SECONDS,
    STEP_FUNCTIONS,
    UNSENT_SECONDS,
    Due,
    Notification,
    NotificationState,
    delay_seconds,
    event_id_of,
)
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.domain.session_event import event_of
from htcgrid_core.ports.messenger import Answer, Heard
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import cancel
from htcgrid_core.services.call_retries import with_retries
from htcgrid_core.services.results import pages_after, some_outcomes

_log = logging.getLogger(__name__)

CLAIM_SECONDS = 120.0  # longer than any one message takes with its tries
CAUSES = limits.FIRST_ERRORS
GONE = "its session is no more: its retention passed, or it was never submitted"


def tell_all(plane: Plane) -> int:
    """Do all that is due, one after the other; return how much that was."""
    count = 0
    for action in due(plane):
        attempt(action)
        count += 1
    return count


def attempt(action: Callable[[], None]) -> None:
    """Do one thing that is due; what fails now stays due, and keeps nobody from the others."""
    try:
        action()
    except GridError as error:
        _log.warning("a session's end is told later: %s", error)


def due(plane: Plane) -> Iterator[Callable[[], None]]:
    """What is due now: each may be done at any time, in any thread, and by many."""
    rows = with_retries(plane, plane.outbox.pending)
    if not rows:
        return
    ids = iter(dict.fromkeys(row.session_id for row in rows))
    records: dict[str, SessionRecord] = {}
    while piece := list(islice(ids, limits.PROGRESS_BATCH)):
        found = with_retries(plane, partial(plane.store.progress, piece, plane.clock.now()))
        records |= {record.session_id: record for record in found}
    for row in rows:
        record = records.get(row.session_id)
        if record is None:
            yield partial(_forget_if_old, plane, row)
        elif record.ended and (row.to == STEP_FUNCTIONS or row.due_at <= plane.clock.now()):
            yield partial(tell, plane, record, row.to)
        elif not record.ended and row.to == STEP_FUNCTIONS and row.due_at <= plane.clock.now():
            yield partial(beat, plane, record)


def tell_session(plane: Plane, record: SessionRecord) -> None:
    """Tell all recipients of a session that has ended, if that is due."""
    for row in with_retries(plane, partial(plane.outbox.of, record.session_id)):
        if not row.is_settled:
            tell(plane, record, row.to)


def tell(plane: Plane, record: SessionRecord, to: str) -> None:
    """Tell one recipient of a session that has ended, if that is due."""
    row = with_retries(plane, partial(plane.outbox.get, record.session_id, to))
    if row is None or row.is_settled:
        return
    if row.state is NotificationState.ABANDONED:
        _settle(plane, row, NotificationState.REFUSED, row.detail)
        return
    event_id = event_id_of(record.session_id, to, record.submitted_at)
    event = row.event
    if row.event_id != event_id:
        event = json.dumps(event_of(record, to, _causes(plane, record)), separators=(",", ":"))
    now = plane.clock.now()
    mine = row.claimed(plane.token(), event_id, event, now, now + CLAIM_SECONDS)
    if mine is None or not with_retries(plane, partial(plane.outbox.replace, row, mine)):
        return
    _note(plane, mine, _send(plane, mine), record.ended_at or now)


def beat(plane: Plane, record: SessionRecord) -> None:
    """Say to the task of Step Functions that waits for a live session that it goes on; cancel it if nobody waits."""
    row = with_retries(plane, partial(plane.outbox.get, record.session_id, STEP_FUNCTIONS))
    if row is None or row.is_settled:
        return
    now = plane.clock.now()
    if row.state is NotificationState.ABANDONED:
        _cancel(plane, row)
        return
    if row.due_at > now or row.event_id == event_id_of(row.session_id, row.to, record.submitted_at):
        return
    mine = replace(row, version=plane.token(), due_at=now + row.heartbeat_seconds, updated_at=now, detail="")
    if not with_retries(plane, partial(plane.outbox.replace, row, mine)):
        return
    answer = plane.messenger.beat(mine.secret)
    if answer.heard is Heard.YES:
        return
    now = plane.clock.now()
    after = replace(mine, version=plane.token(), detail=answer.detail, updated_at=now)
    if answer.heard is Heard.LATER:
        soon = plane.rng.uniform(0.5, 1.0) * min(mine.heartbeat_seconds / 3, limits.RECONCILE_TICK_SECONDS)
        with_retries(plane, partial(plane.outbox.replace, mine, replace(after, due_at=now + soon)))
        return
    # First said, then done: a token that was replaced meanwhile must not cancel what another task waits for.
    after = replace(after, state=NotificationState.ABANDONED, due_at=now)
    if with_retries(plane, partial(plane.outbox.replace, mine, after)):
        _cancel(plane, after)


def _cancel(plane: Plane, row: Notification) -> None:
    reason = f"its task of Step Functions does not wait any more: {row.detail}"
    cancel.cancel(plane, row.session_id, actor="step-functions", reason=reason)
    _settle(plane, row, NotificationState.REFUSED, row.detail)


def _send(plane: Plane, row: Notification) -> Answer:
    event = json.loads(row.event)
    if row.to == STEP_FUNCTIONS:
        return plane.messenger.end_task(row.secret, event["data"])
    destination = with_retries(plane, partial(plane.outbox.destination, row.to))
    if destination is None:
        return Answer(Heard.NEVER, f"destination {row.to} is not registered any more")
    if destination.disabled:
        return Answer(Heard.NEVER, f"destination {row.to} is disabled: {destination.disabled}")
    answer = plane.messenger.send(destination, event, plane.clock.now())
    if answer.heard is Heard.GONE:
        disabled = destination.model_copy(update={"disabled": answer.detail})
        with_retries(plane, partial(plane.outbox.put_destination, disabled))
    return answer


def _note(plane: Plane, mine: Notification, answer: Answer, ended_at: float) -> None:
    """Write what became of a message."""
    match answer.heard:
        case Heard.YES:
            _settle(plane, mine, NotificationState.DELIVERED, answer.detail)
        case Heard.LATER:
            _again(plane, mine, answer.detail, ended_at)
        case _ if mine.to == STEP_FUNCTIONS and mine.attempts > 1:
            # An earlier try, whose answer nobody heard, ended the task; or nobody waits, and it is the same to all.
            _settle(plane, mine, NotificationState.DELIVERED, f"already reported ({answer.detail})")
        case _:
            _settle(plane, mine, NotificationState.REFUSED, answer.detail)


def _again(plane: Plane, mine: Notification, detail: str, ended_at: float) -> None:
    now = plane.clock.now()
    destination = None if mine.to == STEP_FUNCTIONS else with_retries(plane, partial(plane.outbox.destination, mine.to))
    is_webhook = destination is not None and destination.kind == "webhook"
    delay = delay_seconds(mine.attempts, is_webhook=is_webhook)
    if delay is None or (not is_webhook and now - ended_at > PATIENCE_SECONDS):
        _settle(plane, mine, NotificationState.REFUSED, f"given up after {mine.attempts} tries: {detail}")
        return
    due_at = now + plane.rng.uniform(0.8, 1.2) * delay
    after = replace(mine, version=plane.token(), due_at=due_at, detail=detail, updated_at=now)
    with_retries(plane, partial(plane.outbox.replace, mine, after))


def _settle(plane: Plane, row: Notification, state: NotificationState, detail: str) -> None:
    now = plane.clock.now()
    # The secret stays, in case that the same submission comes once more with it.
    settled = replace(row, version=plane.token(), state=state, detail=detail, updated_at=now)
    if with_retries(plane, partial(plane.outbox.replace, row, settled)):
        said = {"session": row.session_id, "to": row.to, "task_token": row.secret_hash, "tries": row.attempts}
        _log.info("a recipient is settled: %s", state, extra={**said, "detail": detail})


def _forget_if_old(plane: Plane, due: Due) -> None:
    """A row without a session: its submission is under way, or never came, or it was too late to tell."""
    row = with_retries(plane, partial(plane.outbox.get, due.session_id, due.to))
    if row is None or row.is_settled or plane.clock.now() - row.created_at < UNSENT_SECONDS:
        return
    if row.event:  # the event was kept
        now = plane.clock.now()
        mine = row.claimed(plane.token(), row.event_id, row.event, now, now + CLAIM_SECONDS)
        if mine is not None and with_retries(plane, partial(plane.outbox.replace, row, mine)):
            _note(plane, mine, _send(plane, mine), row.created_at)
        return
    _settle(plane, row, NotificationState.REFUSED, GONE)


def _causes(plane: Plane, record: SessionRecord) -> list[dict[str, Any]]:
    """The first failed tasks, as far as they can be read."""
    if not record.counters.failed:
        return []
    try:
        return list(islice(_failures(plane, record), CAUSES))
    except (CorruptPayload, IncompatibleGrid) as error:
        _log.warning("session %s: its failures cannot be read: %s", record.session_id, error)
        return []


def _failures(plane: Plane, record: SessionRecord) -> Iterator[dict[str, Any]]:
    spec, cursor = record.parsed_spec(), 0
    while pages := pages_after(plane, record.session_id, cursor, failed_only=True):
        for page in pages:
            cursor = page.cursor
            for outcome in some_outcomes(plane, record.session_id, spec, page, _is_failed):
                error = decode_error(outcome.payload)
                yield {"index": outcome.index, "type": error.type, "message": error.message}


def _is_failed(index: int, failed: bool) -> bool:
    return failed


def notifications(plane: Plane, session_id: str) -> Sequence[Notification]:
    """Whom a session's end is told, and how far that is."""
    return with_retries(plane, partial(plane.outbox.of, session_id))
