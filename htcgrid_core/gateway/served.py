"""What a server has of a grid beside its gateway: who acts, whose a blob is, and uploads in parts."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.codecs.tasks import TaskPage
from htcgrid_core.domain.alias import Alias
from htcgrid_core.domain.audit import AuditPage
from htcgrid_core.domain.costs import CostReport
from htcgrid_core.domain.errors import NotOffered, SessionNotFound
from htcgrid_core.domain.lifecycle import SessionState, TaskState
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.session import Counters, SessionRecord, SessionSpec
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.gateway.looks import Looks, Seen
from htcgrid_core.gateway.protocol import Gateway
from htcgrid_core.ports.dead_letters import DeadLetter, look_at
from htcgrid_core.ports.part_urls import PartUrl
from htcgrid_core.services import aliases, audit, costs, cutting, direct_parts, invocations, ownership, results, uploads
from htcgrid_core.services.asked import Asked
from htcgrid_core.services.attempts import Attempts, attempts_of
from htcgrid_core.services.direct_parts import DirectPart
from htcgrid_core.services.invocations import Place
from htcgrid_core.services.timings import Timings
from htcgrid_core.services.uploads import Upload

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet


class ServedGrid:
    """A grid that many principals use through one server. May be used from many threads."""

    def __init__(self, gateway: InProcessGateway) -> None:
        self.gateway: Gateway = gateway
        self._check_pools = gateway.check_pools
        self._gateway = gateway
        self._plane = gateway.plane
        self._looks = Looks()

    def acting(self, actor: str, address: str = "") -> Gateway:
        """The gateway for one who acts, as the audit names him, from an address."""
        return self._gateway.acting(actor, address)

    def permitted(self, spec: SessionSpec) -> SessionSpec:
        """A spec that says how long its session is kept, as its tenant may.

        Raises:
            InvalidInput: it asks for longer.
        """
        return self._plane.retention().applied(spec)

    # The audit and the costs, of those for whom who asks acts

    def note(self, actor: str, address: str, event: str, detail: str = "") -> None:
        """Add to the audit what somebody did here."""
        audit.note(self._plane, actor, event, detail, address)

    def audit_page(self, since: float, until: float, limit: int, cursor: str | None, fits: audit.Fits) -> AuditPage:
        """Who did what, newest first; only what fits."""
        return audit.page(self._plane, since, until, limit, cursor, fits)

    def audit_export(
        self, since: float, until: float, fits: audit.Fits, tenants: Collection[str] | None
    ) -> Iterator[bytes]:
        """The same as JSON Lines with an HMAC."""
        return audit.export(self._plane, since, until, fits, tenants)

    def costs(self, first_day: str | None, last_day: str | None, by: str, serves: Callable[[str], bool]) -> CostReport:
        """Daily totals."""
        return costs.report(self._plane, first_day, last_day, by, serves)

    # Sessions, those among them that are uploads and not submitted yet

    def session(self, session_id: str) -> SessionRecord:
        """One session's row.

        Raises:
            SessionNotFound: there is neither it nor an upload for it.
        """
        try:
            return self.gateway.session(session_id)
        except SessionNotFound:
            upload = self.upload(session_id)
        try:
            return self.gateway.session(session_id)  # it was submitted meanwhile
        except SessionNotFound:
            return row_of_upload(upload)

    def progress(self, session_ids: Sequence[str]) -> list[SessionRecord]:
        """Rows of up to a hundred sessions, in this order; those that are not there are left out."""
        found = {record.session_id: record for record in self.gateway.progress(session_ids)}
        for session_id in session_ids:
            if session_id not in found:
                try:
                    found[session_id] = self.session(session_id)
                except SessionNotFound:
                    continue
        return [found[session_id] for session_id in dict.fromkeys(session_ids) if session_id in found]

    # Tasks, from where a page of them ended

    def pages(self, record: SessionRecord, cursor: int, state: TaskState | None) -> Iterator[TaskPage]:
        """What was committed after ``cursor``; or of that only what is COMPLETED, or FAILED."""
        return self._gateway.pages(record, cursor, state)

    def without_outcome(self, record: SessionRecord, state: TaskState | None, start: int = 0) -> Iterator[TaskOutcome]:
        """Tasks that have no outcome, or those of them in one state; in index order, from ``start`` on."""
        return self._gateway.without_outcome(record, state, start)

    def few_results(self, record: SessionRecord) -> list[tuple[int, Outcome | None]] | None:
        """Every task's outcome in index order, of a COMPLETED session with few and small results; None of others.

        Raises:
            GridError: they cannot be read now, or not at all.
        """
        return results.few(self._plane, record)

    # The states of all tasks, for those who look

    def task_states(self, record: SessionRecord) -> Seen:
        """A byte for each task, in index order: a ``Code`` of ``services.task_states``.

        Raises:
            CorruptPayload: what had to be read of it was damaged.
        """
        return self._looks.look(self._plane, record)

    def timings(self, record: SessionRecord) -> Timings:
        """When its tasks ended and how long they took: see ``services.timings``."""
        return self._looks.timings(self._plane, record)

    def attempts(self, record: SessionRecord, index: int) -> Attempts:
        """Every attempt of a task: see ``services.attempts``."""
        return attempts_of(self._plane, record, index)

    # What queues gave up

    @property
    def has_dead_letters(self) -> bool:
        """Whether its queues give messages up."""
        return self._plane.dead_letters is not None

    def dead_letters(self, limit: int) -> list[DeadLetter]:
        """Dead letters there are now.

        Raises:
            NotOffered: no queue of this grid gives anything up.
        """
        if self._plane.dead_letters is None:
            raise NotOffered("this grid has no queues that give messages up, and so no dead letters")
        return look_at(self._plane.dead_letters, limit)

    # Texts that clients carry, and must neither read nor make up: cursors name sessions of any tenant

    def sealed_text(self, text: str) -> str:
        """A text as only holders of the grid's key can read it."""
        return self._fernet().encrypt(text.encode()).decode()

    def opened_text(self, sealed: str) -> str | None:
        """Undo ``sealed_text``; None if it is none, or of a key that is long retired."""
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet().decrypt(sealed.encode()).decode()
        except InvalidToken:
            return None

    def _fernet(self) -> MultiFernet:
        from cryptography.fernet import Fernet, MultiFernet  # 20 ms, and few ask for ends

        keys = self._plane.keys
        signing = [keys.signer(), *keys.reusable(self._plane.clock.now())]
        secrets = dict.fromkeys(hmac.digest(key.secret, b"htcgrid cursors", "sha256") for key in signing)
        return MultiFernet([Fernet(base64.urlsafe_b64encode(secret)) for secret in secrets])

    # Whose a blob is

    def note_owner(self, tenant: str, key: str) -> None:
        """A tenant has put the blob under ``key``: ``shared/DIGEST`` or ``functions/DIGEST``."""
        ownership.note(self._plane, tenant, key)

    def is_owned(self, tenant: str, key: str) -> bool:
        """Whether it has."""
        return ownership.is_owned(self._plane, tenant, key)

    # Aliases of functions: see services.aliases

    def put_alias(self, function: str, alias: Alias, actor: str, address: str) -> Alias:
        """Make one, or move it, or remove it; in the name of somebody."""
        event = "remove-alias" if alias.removed else "put-alias"
        self.note(actor, address, event, f"{function}:{alias.name}" + ("" if alias.removed else f" to {alias.version}"))
        return aliases.put(self._plane, function, alias)

    def alias(self, function: str, name: str) -> Alias | None:
        """One; None if there is none."""
        return aliases.find(self._plane, function, name)

    def aliases(self, function: str) -> list[Alias]:
        """All of a function's."""
        return aliases.listed(self._plane, function)

    # Invocations: see services.invocations

    def claim_invocation(self, request_id: str, place: Place) -> Place:
        """Place a call, and return where it is."""
        return invocations.claim(self._plane, request_id, place)

    # Uploads: see services.uploads

    def start_upload(self, session_id: str, asked: Asked) -> Upload:
        """Open one; one that is open already is returned as it is."""
        return uploads.start(self._plane, session_id, asked.write())

    def upload(self, session_id: str) -> Upload:
        """One that was not submitted yet."""
        return uploads.read(self._plane, session_id)

    def put_part(self, session_id: str, number: int, packed: bytes) -> bool:
        """Store a part."""
        return uploads.put_part(self._plane, session_id, number, packed)

    def parts(self, session_id: str) -> list[int]:
        """The parts that are stored."""
        return uploads.parts(self._plane, session_id)

    @property
    def takes_parts(self) -> bool:
        """Whether clients may put parts themselves."""
        return self._plane.part_urls is not None

    def part_url(self, session_id: str, part: DirectPart) -> PartUrl:
        """Where a client may put a part itself.

        Raises:
            NotOffered: nowhere on this grid.
        """
        if self._plane.part_urls is None:
            raise NotOffered("this grid's storage takes no parts from clients: send them to this server")
        return direct_parts.url_for(self._plane, self._plane.part_urls, session_id, part)

    def direct_parts(self, session_id: str, numbers: Collection[int]) -> Mapping[int, Sequence[DirectPart]]:
        """Those that clients have put themselves: at least what there is under these numbers."""
        return direct_parts.listed(self._plane, session_id, numbers)

    def seal(self, session_id: str, count: int) -> Upload:
        """All parts are there; of those that did not come through a server, agents make the session's bundles."""
        self._check_pools(Asked.read(self.upload(session_id).asked).spec)
        upload = uploads.seal(self._plane, session_id, count)
        if upload.direct and upload.failed is None:
            cutting.announce_upload(self._plane, upload)
        return upload

    def submit_upload(self, session_id: str, go_on: Callable[[], bool]) -> None:
        """Submit a sealed upload, or leave it to agents if parts of it did not come through a server.

        Args:
            go_on: asked each few megabytes; after a no, the rest is left to others.

        Raises:
            GridError: as for ``services.cutting.cut``.
        """
        try:
            upload = self.upload(session_id)
        except SessionNotFound:
            return
        if upload.direct and not self._is_settled(session_id):
            cutting.announce_upload(self._plane, upload)
        elif (record := cutting.cut(self._plane, session_id, go_on)) is not None:
            self._gateway.woken(record)

    def _is_settled(self, session_id: str) -> bool:
        """Whether no bundles are to be made: it has ended, or what was sent may only be the same once more."""
        try:
            record = self.gateway.session(session_id)
        except SessionNotFound:
            return False
        return record.acknowledged or record.ended

    def fail_upload(self, session_id: str, why: Mapping[str, Any]) -> None:
        """It will never be submitted."""
        uploads.fail(self._plane, session_id, why)

    def forget_upload(self, session_id: str) -> None:
        """It is submitted."""
        uploads.forget(self._plane, session_id)

    def sealed_uploads(self) -> list[str]:
        """What a server that died has left."""
        return uploads.sealed(self._plane)


def row_of_upload(upload: Upload) -> SessionRecord:
    """What stands in the place of a session's row until it is submitted."""
    spec, failed = Asked.read(upload.asked).spec, upload.failed
    at = upload.opened_at
    state, ended_at, reason = SessionState.SUBMITTED, None, ""
    if failed is not None:
        state = SessionState(str(failed.get("state", SessionState.FAILED)))
        ended_at, reason = float(failed.get("at", at)), str(failed.get("detail", ""))
    return SessionRecord(
        upload.session_id,
        state,
        spec.text,
        spec.name,
        Counters(),
        submitted_at=at,
        updated_at=ended_at or at,
        ended_at=ended_at,
        reason=reason,
        pool=spec.pool,
        retention_seconds=spec.retention_seconds,
    )
