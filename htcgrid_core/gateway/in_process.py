"""The gateway over the services, in the process that asks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from htcgrid_core.codecs.events import EncodedEvent
from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.codecs.packages import Packed
from htcgrid_core.codecs.shared import SharedInput
from htcgrid_core.codecs.signing import FUNCTION_PURPOSE, SHARED_PURPOSE, seal
from htcgrid_core.codecs.tasks import TaskPage
from htcgrid_core.domain import limits
from htcgrid_core.domain.agent import AgentRecord
from htcgrid_core.domain.audit import AuditEntry
from htcgrid_core.domain.destination import Destination, check_destination
from htcgrid_core.domain.ended import EndedPage
from htcgrid_core.domain.errors import GridUnavailable, InvalidInput, SessionNotFound
from htcgrid_core.domain.function import FunctionVersion
from htcgrid_core.domain.lifecycle import SessionState, TaskState
from htcgrid_core.domain.measurement import Measurement
from htcgrid_core.domain.notification import Notification, Recipient
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.session import SessionRecord, SessionSpec, tenant_of
from htcgrid_core.gateway.bell_waiter import BellWaiter
from htcgrid_core.gateway.checks import check_session_id
from htcgrid_core.gateway.deployment import Deployment
from htcgrid_core.gateway.description import GridDescription
from htcgrid_core.gateway.in_tasks import check_not_importing, looked_at
from htcgrid_core.gateway.stored_specs import StoredSpecs
from htcgrid_core.services import cancel, find_task, functions, measure, resubmit, results, submit, tasks, telling
from htcgrid_core.services.call_retries import with_retries
from htcgrid_core.services.recipients import submit_with

SHARED_CODECS = ("bytes", "json", "pickle")


class InProcessGateway:
    """See ``gateway.protocol.Gateway``.

    Args:
        actor: who acts, for the audit; None for this process.
    """

    def __init__(self, deployment: Deployment, actor: str | None = None) -> None:
        self.deployment = deployment
        self.plane = deployment.plane
        self.url = deployment.url
        self._actor = actor
        self._specs = StoredSpecs()
        self._description = GridDescription(deployment.url, deployment.pools, 0, deployment.same_machine)

    def acting(self, actor: str) -> InProcessGateway:
        """The same grid for somebody else."""
        other = InProcessGateway(self.deployment, actor)
        other._specs = self._specs
        return other

    # The grid

    def describe(self) -> GridDescription:
        """What is to be known before a submit."""
        agents = self.deployment.reachable_agents()
        if agents != self._description.agents:
            self._description = replace(self._description, agents=agents)
        return self._description

    def wake(self) -> None:
        """Make sure that agents run."""
        self.deployment.wake()

    def agents(self) -> list[AgentRecord]:
        """What agents that are alive last said of themselves."""
        return self.plane.store.agents(self.plane.clock.now())

    def measure(self) -> Measurement:
        """The grid's load."""
        return measure.measure(self.plane)

    def close(self) -> None:
        """Let go of the connection."""
        self.deployment.close()

    # Sessions

    def submit(
        self,
        session_id: str,
        spec: SessionSpec,
        events: Iterable[EncodedEvent],
        *,
        total: int | None,
        idempotent: bool,
        durable: bool = True,
        on_progress: Callable[[int], None] | None = None,
        notify: Sequence[Recipient] = (),
    ) -> SessionRecord:
        """Submit a session, and make sure that agents run."""
        check_not_importing()
        check_session_id(session_id, spec.tenant)
        self._description.check_pool(spec.pool)
        if notify:
            spec = spec.model_copy(update={"notify": tuple(recipient.to for recipient in notify)})
        self._specs.add(spec)
        submit_it = partial(
            submit.submit,
            self.plane,
            session_id,
            spec,
            events,
            total=total,
            idempotent=idempotent,
            durable=durable,
            progress=on_progress,
        )
        return self._woken(self._notifying(session_id, notify, submit_it))

    def _notifying(
        self, session_id: str, notify: Sequence[Recipient], call: Callable[[], SessionRecord]
    ) -> SessionRecord:
        if not notify:
            return call()
        record = submit_with(self.plane, session_id, notify, call)
        if record.ended:
            telling.attempt(partial(telling.tell_session, self.plane, record))  # nobody else may come by soon
        return record

    def resubmit(
        self,
        session_id: str,
        parent_id: str,
        *,
        idempotent: bool,
        traceparent: str = "",
        tracestate: str = "",
        notify: Sequence[Recipient] = (),
    ) -> SessionRecord:
        """Submit the tasks of an ended session that are not COMPLETED."""
        check_not_importing()
        check_session_id(session_id, tenant_of(parent_id))
        resubmit_it = partial(
            resubmit.resubmit,
            self.plane,
            session_id,
            parent_id,
            agents=self.deployment.reachable_agents(),
            idempotent=idempotent,
            traceparent=traceparent,
            tracestate=tracestate,
            notify=tuple(recipient.to for recipient in notify),
        )
        return self._woken(self._notifying(session_id, notify, resubmit_it))

    def _woken(self, record: SessionRecord) -> SessionRecord:
        if not record.ended:
            try:
                self.deployment.wake()
            except GridUnavailable as error:  # a caller who took this for a failed submit would submit it twice
                raise GridUnavailable(f"session {record.session_id} is submitted and waits, but {error}") from error
        return record

    def session(self, session_id: str) -> SessionRecord:
        """One session's row."""
        record = self.plane.store.session(session_id, self.plane.clock.now())
        looked_at(self.plane, record)
        return record

    def progress(self, session_ids: Sequence[str]) -> list[SessionRecord]:
        """Rows of up to a hundred sessions."""
        if len(session_ids) > limits.PROGRESS_BATCH:
            raise InvalidInput(f"progress of {len(session_ids)} sessions in one call: ask for {limits.PROGRESS_BATCH}")
        records = self.plane.store.progress(session_ids, self.plane.clock.now())
        for record in records:
            looked_at(self.plane, record)
        return records

    def sessions(
        self, *, states: Sequence[SessionState] = (), limit: int = 100, before: float | None = None
    ) -> list[SessionRecord]:
        """Rows, newest first."""
        return self.plane.store.sessions(self.plane.clock.now(), states=states, limit=limit, before=before)

    def ended(self, after: str | float, limit: int = 100) -> EndedPage:
        """Sessions that have ended, from a cursor or a time on."""
        return self.plane.store.ended(after, self.plane.clock.now(), limit)

    def history(self, session_id: str) -> list[AuditEntry]:
        """Who did what to a session, oldest first."""
        return self.plane.store.history(session_id)

    def notifications(self, session_id: str) -> list[Notification]:
        """Whom a session's end is told, and how far that is."""
        return [replace(row, secret="") for row in self.plane.outbox.of(session_id)]

    def destinations(self) -> list[Destination]:
        """The destinations that sessions may name."""
        return [found.model_copy(update={"secret": ""}) for found in self.plane.outbox.destinations()]

    def add_destination(self, destination: Destination) -> None:
        """Register a destination."""
        check_destination(destination)
        with_retries(self.plane, lambda: self.plane.outbox.put_destination(destination))

    def remove_destination(self, name: str) -> bool:
        """Forget a destination."""
        return self.plane.outbox.remove_destination(name)

    def adopt(self, session_id: str, owner: str, *, notify: Sequence[Recipient] = ()) -> SessionRecord:
        """Make ``owner`` the one whose fenced cancel counts."""
        now = self.plane.clock.now()
        adopt_it = partial(with_retries, self.plane, lambda: self.plane.store.adopt(session_id, owner, now))
        return self._notifying(session_id, notify, adopt_it)

    def cancel(self, session_id: str, *, reason: str, owner: str | None = None) -> SessionRecord:
        """Ask for a session's end."""
        record = cancel.cancel(self.plane, session_id, actor=self._acting(), reason=reason, owner=owner)
        self.deployment.wake()
        return record

    def waiter(self) -> BellWaiter:
        """What waits for news of sessions."""
        return BellWaiter(self.deployment)

    # Tasks

    def pages(self, record: SessionRecord, cursor: int = 0) -> Iterator[TaskPage]:
        """What was committed after ``cursor`` and until now."""
        return tasks.task_pages(self.plane, record.session_id, self._specs.of(record), cursor)

    def outcomes(self, record: SessionRecord) -> Iterator[tuple[int, Outcome | None]]:
        """Every task's outcome in index order."""
        return resubmit.merged_outcomes(self.plane, record, self._specs.of(record))

    def tasks(self, record: SessionRecord, state: TaskState | None = None) -> Iterator[TaskPage | TaskOutcome]:
        """All tasks, or those in one state."""
        return tasks.tasks(self.plane, record, self._specs.of(record), state)

    def task(self, record: SessionRecord, index: int) -> TaskPage | TaskOutcome:
        """One task."""
        return find_task.find_task(self.plane, record, self._specs.of(record), index)

    def events(self, record: SessionRecord) -> Iterator[bytes]:
        """The events in index order."""
        return results.events_in_order(self.plane, record, self._specs.of(record))

    # What sessions refer to

    def put(self, data: bytes, codec: str) -> SharedInput:
        """Store an encoded value for many tasks."""
        if codec not in SHARED_CODECS:
            raise InvalidInput(f"{codec!r} is not how a shared input is encoded: {', '.join(SHARED_CODECS)}")
        if codec == "pickle":
            return SharedInput(self._put_signed("shared", SHARED_PURPOSE, data), codec)
        return SharedInput(self._put_under_digest("shared", data), codec)

    def put_callable(self, pickled: bytes) -> str:
        """Store a pickled callable."""
        check_not_importing()  # before a session that would be refused leaves its function here
        return f"functions/{self._put_signed('functions', FUNCTION_PURPOSE, pickled)}"

    def _put_signed(self, folder: str, purpose: str, data: bytes) -> str:
        signer = self.plane.keys.signer()
        for key in self.plane.keys.reusable(self.plane.clock.now()):
            digest = hashlib.sha256(seal(key, "", purpose, data)).hexdigest()
            if with_retries(self.plane, lambda at=f"{folder}/{digest}": self.plane.blobs.touch(at)):  # type: ignore[misc]
                return digest
        return self._put_under_digest(folder, seal(signer, "", purpose, data))

    def _put_under_digest(self, folder: str, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        with_retries(self.plane, lambda: self.plane.blobs.put(f"{folder}/{digest}", data))
        return digest

    def deploy(self, draft: FunctionVersion, package: Packed) -> FunctionVersion:
        """Register a package as the next version of a function."""
        return functions.deploy(self.plane, draft.model_copy(update={"deployed_by": self._acting()}), package)

    def function(self, name: str, version: int | None = None, *, session_id: str | None = None) -> FunctionVersion:
        """A version of a function that is deployed, or the latest."""
        if session_id is not None and version is None:
            return self._function_again(name, session_id)
        return functions.resolve(self.plane, name, version)

    def _function_again(self, name: str, session_id: str) -> FunctionVersion:
        try:
            package = self._specs.of(self.session(session_id)).function.package
        except SessionNotFound:
            package = None
        if package is not None and package.function == name:
            return functions.deployed(self.plane, name, package.version)
        return functions.resolve(self.plane, name)

    def functions(self, name: str | None = None) -> list[FunctionVersion]:
        """The latest version of each function; or all versions of one."""
        return functions.catalogue(self.plane) if name is None else functions.versions(self.plane, name)

    def remove_function(self, name: str, version: int | None = None) -> list[int]:
        """Take one version or all out of use for new sessions."""
        return functions.remove(self.plane, name, version)

    def _acting(self) -> str:
        return self._actor or f"{os.environ.get('USER') or os.getuid()}@{os.uname().nodename}:{os.getpid()}"
