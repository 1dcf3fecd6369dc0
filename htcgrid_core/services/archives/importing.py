"""Import: the sessions of an archive become sessions of this grid that have ended, with the same ids.

A session is written as a submission is, and its bundles are leased and committed as an agent would, but by no agent:
they are announced to none, are in the line of a pool that none can have, and their leases do not lapse. So whoever is
killed halfway leaves a SUBMITTED session, which the same import goes on with, or the reconciler aborts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from typing import IO

from htcgrid_core.codecs import outcomes as codec
from htcgrid_core.codecs.events import EncodedEvent, SharingEvent
from htcgrid_core.codecs.outcomes import Outcome, Outcomes
from htcgrid_core.codecs.signing import Key
from htcgrid_core.domain import limits
from htcgrid_core.domain.agent_version import is_for_newer_agents
from htcgrid_core.domain.audit import IMPORT
from htcgrid_core.domain.bundle import Bundle
from htcgrid_core.domain.errors import (
    CorruptPayload,
    GridUnavailable,
    IncompatibleGrid,
    SessionConflict,
    SessionNotFound,
    SignatureInvalid,
)
from htcgrid_core.domain.lifecycle import SESSION, SessionEvent, SessionState
from htcgrid_core.domain.session import Counters, SessionRecord
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import Claimed, Commit, Refusal
from htcgrid_core.services import payloads
from htcgrid_core.services.archives import form
from htcgrid_core.services.archives.exporting import content, digest_of
from htcgrid_core.services.archives.reading import Archive, ArchivedSession
from htcgrid_core.services.audit import note
from htcgrid_core.services.bundling import bundles_of
from htcgrid_core.services.call_retries import with_retries
from htcgrid_core.services.root_bundles import Front, root_bundles

NOBODYS = "~import"  # a pool that no agent can have
NEVER = 1e10  # wall clock, seconds: the year 2286
ROOTS_AT_ONCE = 16
_END: dict[SessionState, Sequence[SessionEvent]] = {
    SessionState.COMPLETED: (SessionEvent.COMPLETE,),
    SessionState.FAILED: (SessionEvent.FAIL,),
    SessionState.CANCELLED: (SessionEvent.CANCEL, SessionEvent.DRAIN),
}


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one session of an archive.

    Attributes:
        is_new: False if it was there already.
    """

    session_id: str
    is_new: bool


def import_archive(plane: Plane, file: IO[bytes], *, actor: str, key: Key | None = None) -> list[Imported]:
    """Write the sessions of an archive, unless they are here already; nothing before all of it was looked at.

    Args:
        file: seekable.
        actor: who imports, for the audit.
        key: of the grid that made the archive, where this grid does not have it. Pickles are then signed with this
            grid's.

    Raises:
        CorruptPayload: the archive is damaged, or is none.
        SignatureInvalid: it holds pickles, and neither a key of this grid nor ``key`` has signed it; or it was changed
            since.
        SessionConflict: a session that is here under one of its ids is another.
        IncompatibleGrid: a newer release made it, or asked for something in it.
    """
    archive = Archive(plane, file, key)
    for session in archive.sessions:
        _check(archive, session)
    found = [_there(plane, session) for session in archive.sessions]
    for session, record in zip(archive.sessions, found, strict=True):
        if record is not None:
            _compare(plane, session, record)
    done = []
    for session, record in zip(archive.sessions, found, strict=True):
        is_new = record is None or not record.ended
        if is_new:
            _Import(plane, session, actor).run()
        done.append(Imported(session.id, is_new))
    return done


def _check(archive: Archive, session: ArchivedSession) -> None:
    if session.spec.codec == "pickle" and not archive.is_signed:
        raise SignatureInvalid(
            f"session {session.id} holds pickles, which run code when they are read, and the archive is signed with "
            f"key {archive.key_id}, which this grid does not have: give it (`htcgrid data import --key FILE`) if you "
            "trust the grid that it is from; nothing was imported"
        )
    if is_for_newer_agents(session.spec.text):
        raise IncompatibleGrid(f"session {session.id} is of a newer release: import it with that; nothing was imported")
    if session.told["state"] not in _END:
        raise CorruptPayload(f"session {session.id} is {session.told['state']!r} in the archive, which is no end")


def _there(plane: Plane, session: ArchivedSession) -> SessionRecord | None:
    try:
        record = with_retries(plane, lambda: plane.store.session(session.id, plane.clock.now()))
    except SessionNotFound:
        return None
    return None if record.ended and not record.acknowledged else record  # one that was aborted makes way


def _compare(plane: Plane, session: ArchivedSession, record: SessionRecord) -> None:
    """Whether a session of this id is the same, or an import of it that goes on."""
    same = record.submitted_at == float(session.told["submitted_at"]) and (
        record.parsed_spec().identity() == session.spec.identity()
    )
    if same and record.ended:
        same = record.state == session.told["state"] and all(
            digest_of(content(plane, record, name)) == session.member(name) for name in form.COMPARED
        )
    if not same:
        raise SessionConflict(
            f"session {session.id} is here already, and is not what the archive holds under this id: nothing was "
            "imported; delete it first, or import into another grid"
        )


class _Import:
    """One session."""

    def __init__(self, plane: Plane, session: ArchivedSession, actor: str) -> None:
        self._plane = plane
        self._session = session
        self._actor = actor
        # Whom its end is told has been told, and what this grid writes is signed with this grid's key.
        update = {"notify": (), "signing_key": plane.keys.signer().name}
        self._spec = session.spec.model_copy(update=update)
        self._token = f"import-{session.member(form.RESULTS).sha256[:16]}"

    def run(self) -> None:
        plane, session_id = self._plane, self._session.id
        sums = " ".join(f"{name} {self._session.member(name).sha256}" for name in form.COMPARED)
        note(plane, self._actor, IMPORT, sums, session_id=session_id)
        record = with_retries(plane, lambda: plane.store.create_session(self._draft(), actor=self._actor))
        self._spec = record.parsed_spec()  # of an import that was killed, with the key that it began with
        if not record.acknowledged:
            roots = self._write(record)
            record = with_retries(
                plane,
                lambda: plane.store.acknowledge(
                    session_id,
                    bundles=roots,
                    digest=str(self._session.told["digest"]),
                    tolerated=self._spec.tolerated_failures(int(self._session.told["total"])),
                    now=plane.clock.now(),
                    actor=self._actor,
                ),
            )
        self._end(record)

    def _draft(self) -> SessionRecord:
        plane, spec = self._plane, self._spec
        folder = plane.token()[-8:]
        return SessionRecord(
            session_id=self._session.id,
            state=SESSION.initial,
            spec=spec.text,
            name=spec.name,
            counters=Counters(),
            submitted_at=float(self._session.told["submitted_at"]),
            updated_at=plane.clock.now(),
            pool=spec.pool,
            retention_seconds=spec.retention_seconds,
            folder=folder,
        )

    def _write(self, record: SessionRecord) -> int:
        """Write bundles and their outcomes; how many bundles there are."""
        plane, total = self._plane, int(self._session.told["total"])
        bundles = bundles_of(self._spec, self._events(), total)
        tasks = map(form.outcome_of, self._session.lines(form.RESULTS))
        attempts = _Attempts(self._session.lines(form.ATTEMPTS))
        roots = seen = 0
        while batch := list(islice(bundles, ROOTS_AT_ONCE)):
            pairs = root_bundles(plane, record, self._spec, roots, batch, Front(0.0, 1.0))
            pairs = [(replace(bundle, pool=NOBODYS), block) for bundle, block in pairs]
            with_retries(plane, partial(plane.store.put_bundles, record.session_id, pairs, plane.clock.now()))
            for bundle, _ in pairs:
                found = list(islice(tasks, len(bundle.indexes)))
                if [index for index, _ in found] != list(bundle.indexes):
                    raise CorruptPayload(f"session {record.session_id}: {form.RESULTS} lacks tasks, or has others")
                self._commit(record, bundle, [one for _, one in found if one is not None], attempts)
                seen += len(found)
            roots += len(batch)
        if seen != total or next(tasks, None) is not None:
            raise CorruptPayload(f"session {record.session_id}: the archive has not just its {total:,} tasks")
        return roots

    def _events(self) -> Iterator[EncodedEvent]:
        shared, kind = [str(one) for one in self._session.told["shared_inputs"]], self._spec.codec
        for line in self._session.lines(form.EVENTS):
            event = form.event_of(line, kind)
            names = form.shared_in(event, shared)
            yield SharingEvent(event, tuple(sorted(names))) if names else event

    def _commit(self, record: SessionRecord, bundle: Bundle, outcomes: list[Outcome], attempts: _Attempts) -> None:
        plane, session_id = self._plane, record.session_id
        claim = partial(
            plane.store.claim, session_id, bundle.bundle_id, token=self._token, owner=self._actor,
            now=plane.clock.now(), until=NEVER,
        )  # fmt: skip
        claimed = with_retries(plane, claim)
        failed = attempts.before(bundle.indexes[-1] + 1)
        if not isinstance(claimed, Claimed):
            if claimed.reason is Refusal.OVER:
                return  # the import that was killed has done so
            raise GridUnavailable(f"session {session_id} is being imported by another at this moment; try again")
        if not outcomes:
            return
        packed = Outcomes()
        for one in outcomes:
            packed.append(one)
        key = f"{record.blobs}outcomes/{bundle.bundle_id}/{claimed.lease.epoch}-{self._token}"
        payload = payloads.store(plane, session_id, self._spec, payloads.OUTCOMES, codec.parts(packed), key)
        # What its tasks took is counted where they ran, and not here once more.
        commit = Commit(
            session_id, bundle.bundle_id, self._token, plane.clock.now(), payload, len(packed) - packed.failures,
            packed.failures, attempts=failed,
        )  # fmt: skip
        with_retries(plane, lambda: plane.store.commit(commit))

    def _end(self, record: SessionRecord) -> None:
        plane, wanted = self._plane, SessionState(self._session.told["state"])
        for event in _END[wanted]:
            if record.ended:
                break
            advance = partial(
                plane.store.advance, record.session_id, event, now=plane.clock.now(), actor=self._actor,
                reason=str(self._session.told["reason"]),
            )  # fmt: skip
            record = with_retries(plane, advance)
        if record.state is not wanted:
            text = f"session {record.session_id} was ended by another while it was imported, as {record.state}"
            raise SessionConflict(f"{text}: delete it, and import it again")


class _Attempts:
    """Failed attempts by their tasks, taken as far as a bundle reaches."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._left = lines

    def before(self, index: int) -> bytes | None:
        """Those of tasks before ``index`` that were not taken yet, as a commit keeps them; None if there are none."""
        kept, size = Outcomes(), 0
        for line in self._left:
            _, attempt = form.outcome_of(line)
            if attempt is None:
                continue
            if attempt.index >= index:
                self._left = chain((line,), self._left)
                break
            size += len(line)
            if size <= limits.ATTEMPTS_BYTES:
                kept.append(attempt)
        return codec.pack(kept) if kept else None
