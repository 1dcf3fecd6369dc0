"""Cutting: the parts of a sealed upload become the bundles of its session. Whoever does it, another may go on with it.

That is a server, of parts that came through it; an agent or the scheduled reconciler, of parts that clients have put
themselves, and of what a server that died has left. Several at once do no harm: bundles are made of the same events in
the same way, and writing one again leaves it as it is.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from htcgrid_core.codecs.events import EncodedEvent, SharingEvent
from htcgrid_core.codecs.problems import problem_of
from htcgrid_core.domain.errors import (
    CorruptPayload,
    GridError,
    IllegalTransition,
    InvalidInput,
    SessionConflict,
    SessionNotFound,
)
from htcgrid_core.domain.lifecycle import SessionEvent, SessionState
from htcgrid_core.domain.session import SessionRecord, SessionSpec, tenant_of
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import ownership, uploads
from htcgrid_core.services.asked import Asked
from htcgrid_core.services.call_retries import with_retries
from htcgrid_core.services.cancel import cancel
from htcgrid_core.services.event_schemas import Schemas
from htcgrid_core.services.submit import Written, announce, submit
from htcgrid_core.services.telling import submit_and_tell
from htcgrid_core.services.uploads import Upload

_log = logging.getLogger(__name__)


def announce_upload(plane: Plane, upload: Upload) -> None:
    """Write the row of a sealed upload's session, by which whoever cuts finds it, once: it may have ended since.

    Raises:
        InvalidInput: a recipient is not registered, or the session's pool is not there.
        SessionConflict: there is another session of this id.
    """
    if uploads.is_announced(plane, upload.session_id):
        return
    asked = Asked.read(upload.asked)
    announce_it = partial(announce, plane, upload.session_id, _notifying(asked), asked.actor)
    submit_and_tell(plane, upload.session_id, asked.recipients, announce_it)
    uploads.note_announced(plane, upload.session_id)


def cut(plane: Plane, session_id: str, go_on: Callable[[], bool] = lambda: True) -> SessionRecord | None:
    """Submit a sealed upload, from where somebody may have left it; or end it, if that cannot be done.

    Args:
        go_on: asked each few megabytes. After a no, what is written is noted, and the rest is left to others.

    Returns:
        The session's row; None if it is not submitted, or not by this call.

    Raises:
        SessionConflict: the session is submitted already, and these parts are not its events.
        GridError: it is to be tried again.
    """
    try:
        upload = uploads.read(plane, session_id)
    except SessionNotFound:  # somebody else was quicker
        return None
    if upload.failed is not None or upload.parts is None:
        return None
    asked, row = Asked.read(upload.asked), _row(plane, session_id)
    try:
        if row is not None and _is_cancelled(plane, upload, row):
            uploads.forget(plane, session_id)
            return None
        record = _submitted(plane, upload, asked, row, go_on)
    except _Paused:
        return None
    except IllegalTransition:  # it was just cancelled
        _log.info("session %s is not submitted: it was cancelled", session_id, extra={"session": session_id})
        return None
    except SessionConflict as error:
        found = _row(plane, session_id)
        if found is not None and found.acknowledged:  # what was sent now is another body: the session stays as it is
            uploads.forget(plane, session_id)
            raise
        _fail(plane, upload, asked, error)
        return None
    except (InvalidInput, CorruptPayload) as error:
        _fail(plane, upload, asked, error)
        return None
    return _forgotten(plane, asked, record)


def _forgotten(plane: Plane, asked: Asked, record: SessionRecord) -> SessionRecord:
    try:
        failed = uploads.read(plane, record.session_id).failed
    except SessionNotFound:  # somebody else has forgotten it
        return record
    if failed is not None:  # it was cancelled meanwhile
        reason = str(failed.get("detail", ""))
        record = cancel(plane, record.session_id, actor=asked.actor, reason=reason)
    uploads.forget(plane, record.session_id)
    return record


def _is_cancelled(plane: Plane, upload: Upload, record: SessionRecord) -> bool:
    """Whether the session was ended after its upload was sealed, and not before it was opened.

    Raises:
        IllegalTransition: it is about to be.
    """
    if record.acknowledged or record.state is SessionState.SUBMITTED:
        return False
    if not record.ended:
        raise IllegalTransition(f"session {upload.session_id} is {record.state}")
    note = uploads.last_written(plane, upload.session_id)
    is_own = note is not None and note["submitted_at"] == record.submitted_at
    return is_own or uploads.is_announced(plane, upload.session_id)


def _submitted(
    plane: Plane, upload: Upload, asked: Asked, record: SessionRecord | None, go_on: Callable[[], bool]
) -> SessionRecord:
    session_id, spec = upload.session_id, _notifying(asked)
    begin = _Begin()
    if record is not None and record.state is SessionState.SUBMITTED:
        stored = record.parsed_spec()
        if stored.identity() == spec.identity():
            spec, begin = stored, _begin(plane, record)  # whose bundles are cut as they were
    if not begin.written.roots:  # whoever has written one had looked at all events
        _check(plane, upload, asked, go_on)
    events = _Events(plane, upload, asked, begin)
    submit_it = partial(
        submit,
        plane,
        session_id,
        spec,
        iter(events),
        total=None,
        idempotent=True,
        actor=asked.actor,
        journal=_Journal(plane, events, record, begin.written, go_on),
    )
    return submit_and_tell(plane, session_id, asked.recipients, submit_it)


def _check(plane: Plane, upload: Upload, asked: Asked, go_on: Callable[[], bool]) -> None:
    """Look at all events by their function's schema: in a pass of their own, since nothing is to be written before.

    Which parts are good is noted, and whoever goes on begins behind them.

    Raises:
        InvalidEvents: some are not what it says.
    """
    check = Schemas(plane).event_check(asked.spec, asked.validate)
    if check is None:
        return
    first, check.rows, check.checked = uploads.last_checked(plane, upload.session_id)
    for number in range(first, upload.parts or 0):
        deque(check.passed(uploads.events(plane, upload, number)), maxlen=0)
        if not check.bad:
            uploads.note_checked(plane, upload.session_id, number + 1, check.rows, check.checked)
            if not go_on():
                raise _Paused(f"session {upload.session_id} is checked by others from part {number + 1} on")
    check.conclude()


def _notifying(asked: Asked) -> SessionSpec:
    return asked.spec.model_copy(update={"notify": tuple(recipient.to for recipient in asked.recipients)})


def _row(plane: Plane, session_id: str) -> SessionRecord | None:
    try:
        return with_retries(plane, lambda: plane.store.session(session_id, plane.clock.now()))
    except SessionNotFound:
        return None


def _fail(plane: Plane, upload: Upload, asked: Asked, error: GridError) -> None:
    """It will never be submitted; unless somebody else has done so, and perhaps taken its parts away."""
    session_id = upload.session_id
    try:
        uploads.read(plane, session_id)
    except SessionNotFound:
        return
    record = _row(plane, session_id)
    if record is not None and not record.ended and not record.acknowledged:
        reason = f"its submission failed: {error}"
        now = plane.clock.now()
        try:
            with_retries(
                plane,
                lambda: plane.store.advance(session_id, SessionEvent.ABORT, now=now, actor=asked.actor, reason=reason),
            )
        except IllegalTransition:  # it went on since it was read
            record = _row(plane, session_id)
    if record is not None and record.acknowledged:
        uploads.forget(plane, session_id)
        return
    why = {**problem_of(error).to_json(), "state": SessionState.FAILED, "at": plane.clock.now()}
    uploads.fail(plane, session_id, why)
    _log.warning("session %s cannot be submitted: %s", session_id, error, extra={"session": session_id})


# Where to go on


@dataclass(frozen=True, slots=True)
class _Begin:
    """Where to begin: at the event ``at`` of ``part``, behind what is written."""

    written: Written = field(default_factory=Written)
    part: int = 0
    at: int = 0


def _begin(plane: Plane, record: SessionRecord) -> _Begin:
    """Where whoever cut before has noted that the next one may begin."""
    note = uploads.last_written(plane, record.session_id)
    if note is None or note["submitted_at"] != record.submitted_at:  # of a try that was aborted
        return _Begin()
    written = Written(note["roots"], note["tasks"], bytes.fromhex(note["link"]))
    return _Begin(written, note["part"], note["at"])


class _Paused(GridError):
    """Whoever cuts is to stop now."""


class _Journal:
    """Notes for whoever goes on. See ``submit.Journal``."""

    def __init__(
        self,
        plane: Plane,
        events: _Events,
        record: SessionRecord | None,
        begun: Written,
        go_on: Callable[[], bool],
    ) -> None:
        self.begun = begun
        self._plane = plane
        self._events = events
        self._record = record
        self._go_on = go_on

    def note(self, written: Written) -> None:
        """So much is written."""
        session_id = self._events.session_id
        record = self._record = self._record or _row(self._plane, session_id)
        if record is None:
            return
        part, at = self._events.place_of(written.tasks)
        note: Mapping[str, Any] = {
            "submitted_at": record.submitted_at,
            "roots": written.roots,
            "tasks": written.tasks,
            "link": written.link.hex(),
            "part": part,
            "at": at,
        }
        uploads.note_written(self._plane, session_id, written.roots, note)
        if not self._go_on():
            raise _Paused(f"session {session_id} is submitted by others from event {written.tasks} on")


class _Events:
    """The events of all parts from some place on, one part in memory at a time."""

    def __init__(self, plane: Plane, upload: Upload, asked: Asked, begin: _Begin) -> None:
        self.session_id = upload.session_id
        self._plane = plane
        self._upload = upload
        self._asked = asked
        self._begin = begin
        self._begins: deque[tuple[int, int]] = deque()  # of parts that are not all written: first event, number
        self._owned: set[str] = set()

    def __iter__(self) -> Iterator[EncodedEvent]:
        begin, upload = self._begin, self._upload
        index = begin.written.tasks - begin.at  # of the first event of the part
        for number in range(begin.part, upload.parts or 0):
            self._begins.append((index, number))
            skipped = begin.at if number == begin.part else 0
            index += skipped
            is_unseen = number in upload.direct and number not in upload.twice  # by any server
            for event in islice(uploads.events(self._plane, upload, number), skipped, None):
                if is_unseen and isinstance(event, SharingEvent):
                    self._check(event)
                yield event
                index += 1

    def place_of(self, index: int) -> tuple[int, int]:
        """The part in which an event is, and which of its events that is; nobody asks for an earlier one again."""
        while len(self._begins) > 1 and self._begins[1][0] <= index:
            self._begins.popleft()
        first, number = self._begins[0]
        return number, index - first

    def _check(self, event: SharingEvent) -> None:
        """Whether what an event names may be used; a server has looked at the parts that came through it."""
        for digest in {name.partition(".")[0] for name in event.shared} - self._owned:
            tenants = self._asked.tenants
            if tenants is not None and not any(
                ownership.is_owned(self._plane, tenant, f"shared/{digest}")
                for tenant in (tenant_of(self.session_id), *sorted(tenants))
            ):
                raise InvalidInput(f"shared input {digest} is not in this grid: put it again")
            self._owned.add(digest)
