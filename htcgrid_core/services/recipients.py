"""Recipients: whoever is to be told of a session's end is in the outbox before the session is.

Or before it is adopted by whoever wants to be told of it, too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from htcgrid_core.domain.errors import GridError, GridUnavailable, InvalidInput
from htcgrid_core.domain.notification import (
    STEP_FUNCTIONS,
    Notification,
    NotificationState,
    Recipient,
    event_id_of,
    to_mark,
)
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.messenger import Heard
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.call_retries import with_retries

TRIES = 10


def submit_with(
    plane: Plane, session_id: str, recipients: Sequence[Recipient], submit: Callable[[], SessionRecord]
) -> SessionRecord:
    """Submit a session of whose end recipients are told; return its row.

    Those that nobody is told of yet are written first. What an earlier submission under the same id said is replaced
    only once this one is found to be the same: then its recipient is told nothing any more.

    Args:
        submit: submits it, finds it, or adopts it.

    Raises:
        InvalidInput: a destination is not registered, or the task of Step Functions does not wait; nothing was
            done.
    """
    added, known = list[Notification](), list[Recipient]()
    try:
        for recipient in [each for one in recipients for each in _with_marks(plane, one)]:
            found = with_retries(plane, partial(plane.outbox.get, session_id, recipient.to))
            if found is None or found.secret != recipient.secret:
                _first_beat(plane, recipient)
            if found is None:
                row = _fresh(plane, session_id, recipient)
                if with_retries(plane, partial(plane.outbox.replace, None, row)):
                    added.append(row)
                    continue
            known.append(recipient)
        record = submit()
    except GridUnavailable:
        raise  # it may have been submitted
    except GridError:
        for row in added:
            with contextlib.suppress(GridError):  # one without a session is forgotten in time
                plane.outbox.replace(row, _withdrawn(plane, row))
        raise
    for recipient in known:
        _renew(plane, record, recipient)
    return record


def _with_marks(plane: Plane, recipient: Recipient) -> list[Recipient]:
    """A recipient, and one more for each mark of its destination's.

    Raises:
        InvalidInput: the destination may not be named.
    """
    if recipient.to == STEP_FUNCTIONS:
        return [recipient]
    destination = with_retries(plane, partial(plane.outbox.destination, recipient.to))
    if destination is None:
        raise InvalidInput(
            f"nothing was done: destination {recipient.to!r} is not registered on this grid; "
            "`htcgrid destinations list` shows those that are, `htcgrid destinations add` registers one"
        )
    if destination.disabled:
        raise InvalidInput(
            f"nothing was done: destination {recipient.to!r} is disabled: {destination.disabled}; "
            "`htcgrid destinations add` registers it anew"
        )
    return [recipient, *(Recipient(to_mark(recipient.to, mark)) for mark in destination.progress)]


def _first_beat(plane: Plane, recipient: Recipient) -> None:
    """A state with HeartbeatSeconds counts them from its beginning; and a token that is none is told at once."""
    if recipient.to != STEP_FUNCTIONS:
        return
    answer = plane.messenger.beat(recipient.secret)
    if answer.heard in (Heard.NEVER, Heard.GONE):
        raise InvalidInput(
            f"nothing was done: the task of Step Functions does not wait for it ({answer.detail}); "
            "pass the token as the state's $$.Task.Token gives it"
        )


def _fresh(plane: Plane, session_id: str, recipient: Recipient) -> Notification:
    now = plane.clock.now()
    beats = recipient.heartbeat_seconds
    return Notification(
        session_id,
        recipient.to,
        plane.token(),
        secret=recipient.secret,
        heartbeat_seconds=beats,
        due_at=now + beats if beats else 0.0,
        created_at=now,
        updated_at=now,
    )


def _withdrawn(plane: Plane, row: Notification) -> Notification:
    detail, version = "its session was not submitted", plane.token()
    return replace(row, version=version, state=NotificationState.REFUSED, detail=detail, updated_at=plane.clock.now())


def _renew(plane: Plane, record: SessionRecord, recipient: Recipient) -> None:
    """Let a row that was there be this recipient's, of this try of the session."""
    told_of = event_id_of(record.session_id, recipient.to, record.submitted_at)
    fresh = _fresh(plane, record.session_id, recipient)
    for _ in range(TRIES):
        found = with_retries(plane, partial(plane.outbox.get, record.session_id, recipient.to))
        is_ours = found is not None and found.secret == recipient.secret
        if is_ours and found is not None and (not found.is_settled or found.event_id == told_of):
            return
        if with_retries(plane, partial(plane.outbox.replace, found, replace(fresh, version=plane.token()))):
            return
    raise GridUnavailable(f"session {record.session_id}: others keep changing whom it notifies; submit it again")
