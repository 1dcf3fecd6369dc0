"""The gateway over the services, in the process that asks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from htcgrid_core.codecs.buffers import Buffer, Data, parts_of
from htcgrid_core.codecs.events import EncodedEvent
from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.codecs.packages import Packed
from htcgrid_core.codecs.shared import FILE, SharedInput
from htcgrid_core.codecs.signing import FUNCTION_PURPOSE, SHARED_PURPOSE
from htcgrid_core.codecs.tasks import TaskPage
from htcgrid_core.domain import limits
from htcgrid_core.domain.agent import AgentRecord
from htcgrid_core.domain.alias import ALIAS_NAME, Alias
from htcgrid_core.domain.audit import AuditEntry, AuditPage, actor_text
from htcgrid_core.domain.costs import CostReport, Estimate, SessionCost
from htcgrid_core.domain.destination import Destination, check_destination
from htcgrid_core.domain.ended import EndedPage
from htcgrid_core.domain.errors import FunctionNotFound, GridUnavailable, InvalidInput, SessionNotFound
from htcgrid_core.domain.extent import Extent
from htcgrid_core.domain.function import REGISTERED_NAME, FunctionVersion, Package
from htcgrid_core.domain.lifecycle import SessionState, TaskState
from htcgrid_core.domain.measurement import Measurement
from htcgrid_core.domain.notification import Notification, Recipient
from htcgrid_core.domain.outcome import TaskOutcome
from htcgrid_core.domain.pool import PoolSize
from htcgrid_core.domain.server_source import ServerSource
from htcgrid_core.domain.session import DEFAULT_TENANT, SessionRecord, SessionSpec, tenant_of
from htcgrid_core.gateway.bell_waiter import BellWaiter
from htcgrid_core.gateway.checked_events import checked_first
from htcgrid_core.gateway.checks import check_no_region, check_session_id, no_server
from htcgrid_core.gateway.deployment import Deployment
from htcgrid_core.gateway.description import GridDescription
from htcgrid_core.gateway.file_digest import digest_of
from htcgrid_core.gateway.in_tasks import check_not_importing, looked_at
from htcgrid_core.gateway.paces import Paces
from htcgrid_core.gateway.stored_specs import StoredSpecs
from htcgrid_core.services import (
    aliases,
    audit,
    cancel,
    costs,
    deletion,
    find_task,
    functions,
    holds,
    measure,
    resubmit,
    results,
    submit,
    tasks,
    telling,
)
from htcgrid_core.services.call_retries import with_retries
from htcgrid_core.services.event_schemas import Schemas
from htcgrid_core.services.sizes import asks_for_size, check_sizes

SHARED_CODECS = ("bytes", "json", "pickle")


class InProcessGateway:
    """See ``gateway.protocol.Gateway``.

    Args:
        actor: who acts, for the audit; None for this process.
        address: of whoever acts; empty for this machine.
    """

    def __init__(self, deployment: Deployment, actor: str | None = None, address: str = "") -> None:
        self.deployment = deployment
        self.plane = deployment.plane
        self.url = deployment.url
        self._actor = actor
        self._address = address
        self._specs = StoredSpecs()
        self._schemas = Schemas(self.plane)
        self._paces = None if deployment.same_machine else Paces(self.plane.clock)
        self._sizes: Sequence[PoolSize] = ()
        self._sizes_until = float("-inf")  # monotonic time
        self._description = GridDescription(deployment.url, deployment.pools, 0, deployment.same_machine)

    def acting(self, actor: str, address: str = "") -> InProcessGateway:
        """The same grid for somebody else."""
        other = InProcessGateway(self.deployment, actor, address)
        other._specs, other._paces, other._schemas = self._specs, self._paces, self._schemas
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

    def silent(self) -> list[str]:
        """There is one grid, which answers or does not."""
        return []

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
        validate: Extent = "all",
    ) -> SessionRecord:
        """Submit a session, and make sure that agents run."""
        check_not_importing()
        check_session_id(session_id, spec.tenant)
        self.check_pools(spec)
        spec = self.plane.retention().applied(spec)
        if spec.function.package is not None:  # others have no schema
            check = self._schemas.event_check(spec, validate)
            if check is not None:
                events = checked_first(events, check)
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
            actor=self._audited(),
        )
        return self.woken(telling.submit_and_tell(self.plane, session_id, notify, submit_it))

    def check_pools(self, spec: SessionSpec) -> None:
        """Whether there are its pools, and its tasks fit into their slots; of other sessions nothing is read."""
        self._description.check_pools(spec)
        if not asks_for_size(spec):
            return
        now, asked = self.plane.clock.monotonic(), {spec.pool, spec.retry.on_out_of_memory or spec.pool}
        known = now < self._sizes_until and asked <= {size.pool for size in self._sizes}
        if not known:
            told = with_retries(self.plane, self.plane.store.pools)
            self._sizes, self._sizes_until = [*self.deployment.sizes, *told], now + limits.POOLS_KNOWN_SECONDS
        check_sizes(spec, self._sizes)

    def submit_from(
        self,
        session_id: str,
        spec: SessionSpec,
        source: ServerSource,
        *,
        on_progress: Callable[[int], None] | None = None,
        notify: Sequence[Recipient] = (),
        validate: Extent = "all",
    ) -> SessionRecord:
        """Nobody but this process could read it."""
        raise no_server(self.url, source)

    def resubmit(
        self,
        session_id: str,
        parent_id: str,
        *,
        idempotent: bool,
        traceparent: str = "",
        tracestate: str = "",
        notify: Sequence[Recipient] = (),
        region: str | None = None,
    ) -> SessionRecord:
        """Submit the tasks of an ended session that are not COMPLETED."""
        check_not_importing()
        check_no_region(region, self.url)
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
            actor=self._audited(),
        )
        return self.woken(telling.submit_and_tell(self.plane, session_id, notify, resubmit_it))

    def woken(self, record: SessionRecord) -> SessionRecord:
        """Make sure that agents run for a session that was submitted; return its row.

        Raises:
            GridUnavailable: they cannot be started.
        """
        if not record.ended:
            try:
                self.deployment.wake()
            except GridUnavailable as error:  # a caller who took this for a failed submit would submit it twice
                raise GridUnavailable(f"session {record.session_id} is submitted and waits, but {error}") from error
        return record

    def session(self, session_id: str) -> SessionRecord:
        """One session's row."""
        record = self.plane.store.session(session_id, self.plane.clock.now())
        self._looked_at(record)
        return record

    def progress(self, session_ids: Sequence[str]) -> list[SessionRecord]:
        """Rows of up to a hundred sessions."""
        if len(session_ids) > limits.PROGRESS_BATCH:
            raise InvalidInput(f"progress of {len(session_ids)} sessions in one call: ask for {limits.PROGRESS_BATCH}")
        records = self.plane.store.progress(session_ids, self.plane.clock.now())
        for record in records:
            self._looked_at(record)
        return records

    def _looked_at(self, record: SessionRecord) -> None:
        looked_at(self.plane, record)
        if self._paces is not None:
            self._paces.saw(record)

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

    def audit(self, session_id: str) -> list[AuditEntry]:
        """Who did what to a session, for as long as that is kept."""
        return audit.of_session(self.plane, session_id)

    def audit_page(self, since: float, until: float, limit: int = 100, cursor: str | None = None) -> AuditPage:
        """Who did what, newest first."""
        return audit.page(self.plane, since, until, limit, cursor)

    def audit_export(self, since: float, until: float) -> Iterator[bytes]:
        """The same as JSON Lines with an HMAC."""
        return audit.export(self.plane, since, until)

    def is_genuine_audit(self, key_id: str, digest: str, mac: str) -> bool:
        """Whether this grid has exported lines with this SHA-256."""
        return audit.is_genuine(self.plane, key_id, digest, mac)

    def note(self, event: str, detail: str) -> None:
        """Add to the audit what is about to be done to the grid: none of it is missing there, whatever happens then."""
        audit.note(self.plane, self._acting(), event, detail, self._address)

    def cost(self, session_id: str) -> SessionCost:
        """What a session cost, or has cost so far."""
        return costs.of_session(self.plane, self.session(session_id))

    def costs(self, first_day: str | None = None, last_day: str | None = None, by: str = costs.TENANT) -> CostReport:
        """Daily totals."""
        return costs.report(self.plane, first_day, last_day, by)

    def estimate(self, function: str, tasks: int, *, pool: str = "default", tenant: str | None = None) -> Estimate:
        """What a session would cost."""
        return costs.estimate(self.plane, function, tasks, pool, tenant or DEFAULT_TENANT)

    def notifications(self, session_id: str) -> list[Notification]:
        """Whom a session's end is told, and how far that is."""
        return [replace(row, secret="") for row in self.plane.outbox.of(session_id)]

    def destinations(self) -> list[Destination]:
        """The destinations that sessions may name."""
        return [found.model_copy(update={"secret": ""}) for found in self.plane.outbox.destinations()]

    def add_destination(self, destination: Destination) -> None:
        """Register a destination."""
        check_destination(destination)
        self.deployment.check_destination(destination)
        self.note("put-destination", f"{destination.name} {destination.whither}")
        with_retries(self.plane, lambda: self.plane.outbox.put_destination(destination))

    def remove_destination(self, name: str) -> bool:
        """Forget a destination."""
        if self.plane.outbox.destination(name) is None:
            return False
        self.note("remove-destination", name)
        return self.plane.outbox.remove_destination(name)

    def adopt(self, session_id: str, owner: str, *, notify: Sequence[Recipient] = ()) -> SessionRecord:
        """Make ``owner`` the one whose fenced cancel counts."""
        now = self.plane.clock.now()
        adopt = partial(self.plane.store.adopt, session_id, owner, now, actor=self._audited())
        adopt_it = partial(with_retries, self.plane, adopt)
        return telling.submit_and_tell(self.plane, session_id, notify, adopt_it)

    def cancel(self, session_id: str, *, reason: str, owner: str | None = None) -> SessionRecord:
        """Ask for a session's end."""
        record = cancel.cancel(self.plane, session_id, actor=self._audited(), reason=reason, owner=owner)
        self.deployment.wake()
        return record

    def delete(self, session_id: str, *, reason: str = "") -> None:
        """Delete a session that has ended."""
        deletion.delete(self.plane, session_id, actor=self._audited(), reason=reason)

    def hold(self, session_id: str, *, reason: str) -> SessionRecord:
        """Keep a session that has ended until it is released."""
        return holds.hold(self.plane, session_id, actor=self._audited(), reason=reason)

    def release(self, session_id: str, *, reason: str = "") -> SessionRecord:
        """Let a session's retention go on."""
        return holds.release(self.plane, session_id, actor=self._audited(), reason=reason)

    def waiter(self) -> BellWaiter:
        """What waits for news of sessions."""
        return BellWaiter(self.deployment, self._paces)

    # Tasks

    def pages(self, record: SessionRecord, cursor: int = 0, state: TaskState | None = None) -> Iterator[TaskPage]:
        """What was committed after ``cursor`` and until now; or of that only what is COMPLETED, or FAILED."""
        return tasks.task_pages(self.plane, record.session_id, self._specs.of(record), cursor, state)

    def without_outcome(
        self, record: SessionRecord, state: TaskState | None = None, start: int = 0
    ) -> Iterator[TaskOutcome]:
        """Tasks that have no outcome, or those of them in one state; in index order, from ``start`` on."""
        return tasks.without_outcome(self.plane, record, self._specs.of(record), state, start)

    def outcomes(self, record: SessionRecord, start: int = 0) -> Iterator[tuple[int, Outcome | None]]:
        """Every task's outcome in index order."""
        return resubmit.merged_outcomes(self.plane, record, self._specs.of(record), start)

    def tasks(self, record: SessionRecord, state: TaskState | None = None) -> Iterator[TaskPage | TaskOutcome]:
        """All tasks, or those in one state."""
        return tasks.tasks(self.plane, record, self._specs.of(record), state)

    def task(self, record: SessionRecord, index: int) -> TaskPage | TaskOutcome:
        """One task."""
        return find_task.find_task(self.plane, record, self._specs.of(record), index)

    def events(self, record: SessionRecord, start: int = 0) -> Iterator[bytes]:
        """The events in index order."""
        return results.events_in_order(self.plane, record, self._specs.of(record), start)

    # What sessions refer to

    def put(self, data: Data, codec: str) -> SharedInput:
        """Store an encoded value for many tasks."""
        if codec not in SHARED_CODECS:
            raise InvalidInput(f"{codec!r} is not how a shared input is encoded: {', '.join(SHARED_CODECS)}")
        if codec == "pickle":
            return SharedInput(self._put_signed("shared", SHARED_PURPOSE, data), codec)
        return SharedInput(self._put_under_digest("shared", data), codec)

    def put_file(self, path: Path) -> SharedInput:
        """Store a file for many tasks."""
        digest = digest_of(path)
        key = f"shared/{digest}"
        if not with_retries(self.plane, lambda: self.plane.blobs.touch(key)):
            with_retries(self.plane, lambda: self.plane.blobs.put_file(key, path))
        return SharedInput(digest, FILE)

    def put_callable(self, pickled: bytes) -> str:
        """Store a pickled callable."""
        check_not_importing()  # before a session that would be refused leaves its function here
        return f"functions/{self._put_signed('functions', FUNCTION_PURPOSE, pickled)}"

    def _put_signed(self, folder: str, purpose: str, data: Data) -> str:
        signer, parts = self.plane.keys.signer(), parts_of(data)
        mine: list[Buffer] = [signer.signature("", purpose, parts), *parts]
        digest = _digest(mine)
        for key in self.plane.keys.reusable(self.plane.clock.now()):
            known = digest if key == signer else _digest([key.signature("", purpose, parts), *parts])
            if with_retries(self.plane, lambda at=f"{folder}/{known}": self.plane.blobs.touch(at)):  # type: ignore[misc]
                return known
        with_retries(self.plane, lambda: self.plane.blobs.put(f"{folder}/{digest}", mine))
        return digest

    def _put_under_digest(self, folder: str, data: Data) -> str:
        digest = _digest(parts_of(data))
        with_retries(self.plane, lambda: self.plane.blobs.put(f"{folder}/{digest}", data))
        return digest

    def deploy(self, draft: FunctionVersion, package: Packed) -> FunctionVersion:
        """Register a package as the next version of a function."""
        self.note("deploy", f"{draft.function}, package {package.content}")
        return functions.deploy(self.plane, draft.model_copy(update={"deployed_by": self._acting()}), package)

    def function(
        self, name: str, version: int | str | None = None, *, session_id: str | None = None
    ) -> FunctionVersion:
        """A version of a function that is deployed, or the latest."""
        if isinstance(version, int):
            return functions.resolve(self.plane, name, version)
        alias = None if version is None else self._alias(name, version)
        package = None if session_id is None else self._package_of(session_id)
        if package is not None and package.function == name:  # whatever was deployed or moved since
            return functions.deployed(self.plane, name, package.version)
        number = None if alias is None else alias.version_for(session_id or self.plane.token())
        return functions.resolve(self.plane, name, number)

    def _alias(self, name: str, called: str) -> Alias:
        if REGISTERED_NAME.fullmatch(name) and ALIAS_NAME.fullmatch(called):
            found = aliases.find(self.plane, name, called)
            if found is not None:
                return found
        functions.resolve(self.plane, name)  # which says why there is no such function
        raise FunctionNotFound(
            f"function {name!r} has no alias {called!r}: a version is named by its number, as in {name}:3"
        )

    def _package_of(self, session_id: str) -> Package | None:
        try:
            return self._specs.of(self.session(session_id)).function.package
        except SessionNotFound:
            return None

    def functions(self, name: str | None = None) -> list[FunctionVersion]:
        """The latest version of each function; or all versions of one."""
        return functions.catalogue(self.plane) if name is None else functions.versions(self.plane, name)

    def remove_function(self, name: str, version: int | None = None) -> list[int]:
        """Take one version or all out of use for new sessions."""
        self.note("remove-function", name if version is None else f"{name}:{version}")
        return functions.remove(self.plane, name, version)

    def _audited(self) -> str:
        """Who acts and from where, as stores keep it."""
        return actor_text(self._acting(), self._address)

    def _acting(self) -> str:
        return self._actor or self.plane.actor()


def _digest(parts: Sequence[Buffer]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
