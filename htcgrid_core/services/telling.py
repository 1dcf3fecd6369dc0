"""Telling: whoever comes by tells of sessions that have ended, again until it is heard, and of those that go on.

Of those that go on, tasks of Step Functions hear at each heartbeat, and destinations with marks at each mark.

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

from htcgrid_core.domain import limits, metrics
from htcgrid_core.domain.errors import GridError
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.notification import (
    PATIENCE_SECONDS,
    STEP_FUNCTIONS,
    UNSENT_SECONDS,
    Due,
    Notification,
    NotificationState,
    Recipient,
    delay_seconds,
    destination_of,
    event_id_of,
    is_at,
    mark_of,
)
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.messenger import Answer, Heard
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import cancel
from htcgrid_core.services.call_retries import with_retries
from htcgrid_core.services.recipients import submit_with
from htcgrid_core.services.told_events import event_text

_log = logging.getLogger(__name__)

CLAIM_SECONDS = 120.0  # longer than any one message takes with its tries
BATCH = 10  # events that AWS's services take in one request
GONE = "its session is no more: its retention passed, or it was never submitted"
UNREACHED = "the session ended before it"
SETTLED = "a recipient is settled: %s"  # infra/terraform/modules/observability counts those that are refused

_COUNTED = {NotificationState.DELIVERED: "delivered", NotificationState.REFUSED: "refused"}

Action = Callable[[], None]
Told = tuple[SessionRecord, Notification]


def submit_and_tell(
    plane: Plane, session_id: str, recipients: Sequence[Recipient], submit: Callable[[], SessionRecord]
) -> SessionRecord:
    """Submit, or adopt, a session of whose end recipients are told (``services.recipients``); return its row.

    Raises:
        InvalidInput: a destination is not registered, or the task of Step Functions does not wait.
    """
    if not recipients:
        return submit()
    record = submit_with(plane, session_id, recipients, submit)
    if record.ended:
        attempt(partial(tell_session, plane, record))  # nobody else may come by soon
    return record


def tell_all(plane: Plane) -> int:
    """Do all that is due, one after the other; return how much that was."""
    count = 0
    for action in due(plane):
        attempt(action)
        count += 1
    return count


def attempt(action: Action) -> None:
    """Do one thing that is due; what fails now stays due, and keeps nobody from the others."""
    try:
        action()
    except GridError as error:
        _log.warning("something is told later: %s", error)


def due(plane: Plane) -> Iterator[Action]:
    """What is due now: each may be done at any time, in any thread, and by many."""
    rows = with_retries(plane, plane.outbox.pending)
    if not rows:
        return
    ids = iter(dict.fromkeys(row.session_id for row in rows))
    records: dict[str, SessionRecord] = {}
    while piece := list(islice(ids, limits.PROGRESS_BATCH)):
        found = with_retries(plane, partial(plane.store.progress, piece, plane.clock.now()))
        records |= {record.session_id: record for record in found}
    ready: dict[str, list[tuple[SessionRecord, str]]] = {}  # by destination
    for row in rows:
        record = records.get(row.session_id)
        if record is None:
            yield partial(_forget_if_old, plane, row)
        elif row.to == STEP_FUNCTIONS and not record.ended:
            if row.due_at <= plane.clock.now():
                yield partial(beat, plane, record)
        elif (record.ended or _is_at_mark(record, row.to)) and (
            row.to == STEP_FUNCTIONS or row.due_at <= plane.clock.now()
        ):
            ready.setdefault(destination_of(row.to), []).append((record, row.to))
    for name, wanted in ready.items():
        size = _batch_size(plane, name)
        yield from (partial(_look_and_tell, plane, wanted[at : at + size]) for at in range(0, len(wanted), size))


def tell_sessions(plane: Plane, records: Sequence[SessionRecord]) -> Iterator[Action]:
    """What is due of sessions that have ended: several of them in one message, for those who take that."""
    ready: dict[str, list[Told]] = {}
    for record in records:
        for row in with_retries(plane, partial(plane.outbox.of, record.session_id)):
            if not row.is_settled:
                ready.setdefault(destination_of(row.to), []).append((record, row))
    for name, told in ready.items():
        size = _batch_size(plane, name)
        yield from (partial(_tell, plane, told[at : at + size]) for at in range(0, len(told), size))


def tell_session(plane: Plane, record: SessionRecord) -> None:
    """Tell all recipients of a session that has ended, if that is due."""
    for action in tell_sessions(plane, [record]):
        attempt(action)


def tell(plane: Plane, record: SessionRecord, to: str) -> None:
    """Tell one recipient of a session what it is to be told of it, if that is due."""
    _look_and_tell(plane, [(record, to)])


def _is_at_mark(record: SessionRecord, to: str) -> bool:
    mark = mark_of(to)
    return mark is not None and record.state is not SessionState.SUBMITTED and is_at(mark, record.counters)


def _batch_size(plane: Plane, destination: str) -> int:
    """A webhook hears one event at a time, and a slow one keeps nobody else waiting."""
    if destination == STEP_FUNCTIONS:
        return 1
    found = with_retries(plane, partial(plane.outbox.destination, destination))
    return BATCH if found is not None and found.kind != "webhook" else 1


def _look_and_tell(plane: Plane, wanted: Sequence[tuple[SessionRecord, str]]) -> None:
    told = []
    for record, to in wanted:
        row = with_retries(plane, partial(plane.outbox.get, record.session_id, to))
        if row is not None and not row.is_settled:
            told.append((record, row))
    _tell(plane, told)


def _tell(plane: Plane, told: Sequence[Told]) -> None:
    """Tell one destination what is not settled: claim each row, send the events together, note each answer."""
    claimed = []
    for record, row in told:
        if row.state is NotificationState.ABANDONED:
            _settle(plane, row, NotificationState.REFUSED, row.detail)
        elif record.ended and mark_of(row.to) is not None and not (row.event or _is_at_mark(record, row.to)):
            _settle(plane, row, NotificationState.UNREACHED, UNREACHED)
        elif (mine := _claim(plane, record, row)) is not None:
            claimed.append((record, mine))
    if claimed:
        for (record, mine), answer in zip(claimed, _send(plane, [mine for _, mine in claimed]), strict=True):
            _note(plane, mine, answer, record.ended_at or plane.clock.now())


def _claim(plane: Plane, record: SessionRecord, row: Notification) -> Notification | None:
    event_id = event_id_of(record.session_id, row.to, record.submitted_at)
    event = row.event if row.event_id == event_id else event_text(plane, record, row.to)
    now = plane.clock.now()
    mine = row.claimed(plane.token(), event_id, event, now, now + CLAIM_SECONDS)
    if mine is None or not with_retries(plane, partial(plane.outbox.replace, row, mine)):
        return None
    return mine


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
        plane.metrics.add(metrics.TOLD, outcome="later")
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


def _send(plane: Plane, rows: Sequence[Notification]) -> list[Answer]:
    """Send what the rows of one destination say."""
    events = [json.loads(row.event) for row in rows]
    to = rows[0].to
    if to == STEP_FUNCTIONS:
        return [plane.messenger.end_task(row.secret, event["data"]) for row, event in zip(rows, events, strict=True)]
    name = destination_of(to)
    destination = with_retries(plane, partial(plane.outbox.destination, name))
    if destination is None:
        return [Answer(Heard.NEVER, f"destination {name} is not registered any more")] * len(rows)
    if destination.disabled:
        return [Answer(Heard.NEVER, f"destination {name} is disabled: {destination.disabled}")] * len(rows)
    answers = plane.messenger.send(destination, events, plane.clock.now())
    if gone := next((answer for answer in answers if answer.heard is Heard.GONE), None):
        disabled = destination.model_copy(update={"disabled": gone.detail})
        with_retries(plane, partial(plane.outbox.put_destination, disabled))
    return answers


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
    name = destination_of(mine.to)
    destination = None if name == STEP_FUNCTIONS else with_retries(plane, partial(plane.outbox.destination, name))
    is_webhook = destination is not None and destination.kind == "webhook"
    delay = delay_seconds(mine.attempts, is_webhook=is_webhook)
    if delay is None or (not is_webhook and now - ended_at > PATIENCE_SECONDS):
        _settle(plane, mine, NotificationState.REFUSED, f"given up after {mine.attempts} tries: {detail}")
        return
    due_at = now + plane.rng.uniform(0.8, 1.2) * delay
    after = replace(mine, version=plane.token(), due_at=due_at, detail=detail, updated_at=now)
    with_retries(plane, partial(plane.outbox.replace, mine, after))
    plane.metrics.add(metrics.TOLD, outcome="later")


def _settle(plane: Plane, row: Notification, state: NotificationState, detail: str) -> None:
    now = plane.clock.now()
    # The secret stays, in case that the same submission comes once more with it.
    settled = replace(row, version=plane.token(), state=state, detail=detail, updated_at=now)
    if with_retries(plane, partial(plane.outbox.replace, row, settled)):
        if state in _COUNTED:
            plane.metrics.add(metrics.TOLD, outcome=_COUNTED[state])
        said = {"session": row.session_id, "to": row.to, "task_token": row.secret_hash, "tries": row.attempts}
        _log.info(SETTLED, state, extra={**said, "detail": detail})


def _forget_if_old(plane: Plane, due: Due) -> None:
    """A row without a session: its submission is under way, or never came, or it was too late to tell."""
    row = with_retries(plane, partial(plane.outbox.get, due.session_id, due.to))
    if row is None or row.is_settled or plane.clock.now() - row.created_at < UNSENT_SECONDS:
        return
    if row.event:  # the event was kept
        now = plane.clock.now()
        mine = row.claimed(plane.token(), row.event_id, row.event, now, now + CLAIM_SECONDS)
        if mine is not None and with_retries(plane, partial(plane.outbox.replace, row, mine)):
            _note(plane, mine, _send(plane, [mine])[0], row.created_at)
        return
    _settle(plane, row, NotificationState.REFUSED, GONE)


def notifications(plane: Plane, session_id: str) -> Sequence[Notification]:
    """Whom a session's end is told, and how far that is."""
    return with_retries(plane, partial(plane.outbox.of, session_id))
