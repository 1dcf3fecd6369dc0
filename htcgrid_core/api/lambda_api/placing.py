"""Where invocations run: those that come while others are being submitted share the next session.

So do the calls of an executor; here they are of one principal, function and version. What a client tries again, at this
server or another, is found where it was placed first: each invocation is claimed before it is submitted. If the session
that a claim names is not there, its server has died, or is slow: an empty session of that name is submitted, so that
the slow one is refused, and then every call has a session of its own, named after it.
"""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from weakref import WeakValueDictionary

from htcgrid_core.api.lambda_api.call import LambdaCall
from htcgrid_core.api.lambda_api.running import Callers, Running
from htcgrid_core.api.service import Service
from htcgrid_core.domain.errors import SessionConflict, SessionNotFound
from htcgrid_core.domain.function import FunctionVersion
from htcgrid_core.domain.retry import RetryPolicy
from htcgrid_core.domain.session import SessionRecord, SessionSpec, within_tenant
from htcgrid_core.ports.session_store import WHOLE_BUNDLES
from htcgrid_core.services.invocations import CLAIMED_SECONDS, Place

RETENTION_SECONDS = CLAIMED_SECONDS  # of what was answered already: a claim whose session has gone is run again
CALLS = 256  # in one session
SESSION_BYTES = 2 << 20  # of their payloads, unless one alone is larger: it is written in one step
BUNDLES = 4  # of quick calls
QUICK_SECONDS = 0.05
GATHER_SECONDS = 0.02  # for which calls may gather, while the ones before them run
CLAIMS = 16  # that one thread makes: each is a request to S3, or a file here


@dataclass(eq=False, slots=True)
class Invocation:
    """One call.

    Attributes:
        payload: JSON.
        stays: whether it is to run also when nobody waits for it.
    """

    call: LambdaCall
    version: FunctionVersion
    payload: bytes
    stays: bool
    placed: asyncio.Future[Placed] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


@dataclass(frozen=True, slots=True)
class Placed:
    """Where an invocation runs: the task ``index`` of a session."""

    running: Running
    index: int


@dataclass(eq=False, slots=True)
class _Line:
    """Calls of one principal, function and version that are to be submitted.

    Attributes:
        last: a session that was submitted last, if one was.
    """

    waiting: list[Invocation] = field(default_factory=list)
    sender: asyncio.Task[None] | None = None
    last: Running | None = None

    def taken(self) -> list[Invocation]:
        """As many of those that came first as one session takes."""
        sizes = accumulate(len(one.payload) for one in self.waiting[:CALLS])
        count = max(1, sum(size <= SESSION_BYTES for size in sizes))
        taken, self.waiting[:count] = self.waiting[:count], []
        return taken

    def bundle_size(self, calls: int) -> int:
        """Few in a bundle, since its quick ones may have to wait for a slow one; unless none seems to be slow."""
        is_quick = self.last is not None and self.last.answered.is_set() and self.last.seconds < QUICK_SECONDS
        return max(-(-calls // WHOLE_BUNDLES), -(-calls // BUNDLES) if is_quick else 1)


class Placing:
    """Submits the invocations of one server. Used in the event loop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lines: dict[tuple[str, ...], _Line] = {}
        self._callers = WeakValueDictionary[str, Callers]()  # by session, while any of them is here

    async def place(self, invocation: Invocation) -> Placed:
        """Submit an invocation, with others or alone; or find where an earlier try of it was.

        Raises:
            GridError: it was not submitted.
        """
        call, version = invocation.call, invocation.version
        if version.isolation == "session":
            await self._send_one(invocation)
        else:
            kind = (call.principal.name, call.tenant, version.function, str(version.version))
            line = self._lines.setdefault(kind, _Line())
            line.waiting.append(invocation)
            if line.sender is None:
                line.sender = asyncio.create_task(self._send_all(kind, line))
        return await invocation.placed

    async def alone(self, invocation: Invocation, run: int) -> Placed:
        """Submit an invocation with a session of its own, or find that.

        Args:
            run: how often the session was cancelled since its caller had gone.
        """
        record = await self._service.run(lambda: self._submit(own_session(invocation.call, run), [invocation]))
        return Placed(self._running([invocation], record), 0)

    async def _send_all(self, kind: tuple[str, ...], line: _Line) -> None:
        """Submit what has gathered, until there is nothing more."""
        try:
            while line.waiting:
                await self._send(line.taken(), line)
                if line.last is not None:
                    with suppress(TimeoutError):  # whoever calls again and again does so then
                        await asyncio.wait_for(line.last.answered.wait(), GATHER_SECONDS)
        finally:
            del self._lines[kind]

    async def _send(self, calls: list[Invocation], line: _Line) -> None:
        """Submit some together, or each alone if one of them was placed before."""
        try:
            if len(calls) > 1:
                session_id = within_tenant(calls[0].call.tenant, f"s-{uuid.uuid4().hex}")
                if await self._claimed(session_id, calls):
                    size = line.bundle_size(len(calls))
                    record = await self._service.run(lambda: self._submit(session_id, calls, bundle_size=size))
                    line.last = running = self._running(calls, record)
                    for index, one in enumerate(calls):
                        one.placed.set_result(Placed(running, index))
                    return
        except SessionConflict:
            pass  # another server has taken this one for dead
        except Exception as error:  # noqa: BLE001 - whatever it is, each of them is told
            _fail(calls, error)
            return
        await asyncio.gather(*(self._send_one(one) for one in calls))
        if calls[0].placed.exception() is None:
            line.last = calls[0].placed.result().running

    async def _claimed(self, session_id: str, calls: list[Invocation]) -> bool:
        """Whether all of them are now this session's."""
        places = [(one.call.request_id, Place(session_id, index)) for index, one in enumerate(calls)]
        grid = self._service.grid

        def claim(some: list[tuple[str, Place]]) -> bool:
            return all(grid.claim_invocation(request_id, place) == place for request_id, place in some)

        parts = (places[at : at + CLAIMS] for at in range(0, len(places), CLAIMS))
        return all(await asyncio.gather(*(self._service.run(partial(claim, part)) for part in parts)))

    async def _send_one(self, invocation: Invocation) -> None:
        try:
            record, index = await self._service.run(lambda: self._placed(invocation))
        except Exception as error:  # noqa: BLE001 - whatever it is, its caller is told
            _fail([invocation], error)
            return
        invocation.placed.set_result(Placed(self._running([invocation], record, index), index))

    def _placed(self, invocation: Invocation) -> tuple[SessionRecord, int]:
        """Where an invocation is, which is submitted if it is nowhere."""
        own, gateway = Place(own_session(invocation.call)), invocation.call.gateway
        place = self._service.grid.claim_invocation(invocation.call.request_id, own)
        if place != own:
            try:
                record = gateway.session(place.session_id)
            except SessionNotFound:
                record = self._never(invocation, place.session_id)
            if record.counters.total > place.index:
                return record, place.index
        return self._submit(own.session_id, [invocation]), 0

    def _never(self, invocation: Invocation, session_id: str) -> SessionRecord:
        """A session that was not submitted when it was looked for never will be, or was after all."""
        try:
            return self._submit(session_id, [], like=invocation)
        except SessionConflict:
            return invocation.call.gateway.session(session_id)

    def _submit(
        self,
        session_id: str,
        calls: list[Invocation],
        *,
        like: Invocation | None = None,
        bundle_size: int | None = None,
    ) -> SessionRecord:
        first = like or calls[0]
        call, version, gateway = first.call, first.version, first.call.gateway
        more = f" and {len(calls) - 1} more" if len(calls) > 1 else ""
        spec = SessionSpec(
            function=version.spec(),
            name=f"invoke {call.request_id}{more}",
            retry=RetryPolicy(max_attempts=1),
            task_timeout_seconds=version.timeout_seconds,
            memory_mb=version.memory_mb,
            cpus=version.cpus,
            isolation=version.isolation,
            tenant=call.tenant,
            retention_seconds=RETENTION_SECONDS,
            agents=gateway.describe().agents,
            bundle_size=bundle_size,
        )
        payloads = [one.payload for one in calls]
        # What was acknowledged outlives a power failure; who waits is told of that by the connection's end.
        durable = any(one.stays for one in calls)
        # Each was checked when it came: what is wrong with one is nothing to the others.
        return gateway.submit(
            session_id, spec, payloads, total=len(payloads), idempotent=True, durable=durable, validate="off"
        )

    def _running(self, calls: list[Invocation], record: SessionRecord, index: int = 0) -> Running:
        """A session of these calls, and perhaps of others whose callers wait at another server.

        Args:
            index: of the first of them.
        """
        callers = self._callers.get(record.session_id)
        if callers is None:
            callers = self._callers[record.session_id] = Callers(max(len(calls), record.counters.total))
        else:  # one call that comes again, while somebody is here who asked for it, or for another of its session
            callers.more(index)
        return Running(self._service, calls[0].call.gateway, record, callers)


def own_session(call: LambdaCall, run: int = 0) -> str:
    """The session of a call that shares none: the same for each try of it.

    Args:
        run: how often it was cancelled since its caller had gone.
    """
    return within_tenant(call.tenant, f"s-{uuid.UUID(call.request_id).hex}{f'-{run}' if run else ''}")


def _fail(calls: list[Invocation], error: Exception) -> None:
    for one in calls:
        if not one.placed.done():
            one.placed.set_exception(error)
