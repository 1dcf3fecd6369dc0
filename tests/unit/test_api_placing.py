"""Invocations share sessions, and run once whoever takes them: servers of one grid in memory, and an agent by hand."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.requests import Request

from htcgrid_core.api.auth.authenticator import Authenticator
from htcgrid_core.api.auth.principal import Principal
from htcgrid_core.api.guard import Guard
from htcgrid_core.api.lambda_api import running
from htcgrid_core.api.lambda_api.call import LambdaCall
from htcgrid_core.api.lambda_api.errors import LambdaError
from htcgrid_core.api.lambda_api.placing import CALLS, Invocation, Placed, Placing, _Line
from htcgrid_core.api.rates import Rates
from htcgrid_core.api.service import Service
from htcgrid_core.codecs.values import decode_json
from htcgrid_core.domain.function import FunctionVersion
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.gateway.served import ServedGrid
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import WHOLE_BUNDLES
from htcgrid_core.services.invocations import CLAIMED_SECONDS
from tests.manual_agent import work_on
from tests.planes import NOW, StillDeployment, memory_plane

VERSION = FunctionVersion(
    function="pricing", version=1, handler="code.handler", runtime="python3.11", blob="packages/none", content="00",
    files=1, unpacked_bytes=1, package_bytes=1,
)  # fmt: skip


class Caller:
    """A request, whose connection may end."""

    has_gone = False
    client = None

    async def is_disconnected(self) -> bool:
        """As Starlette says it."""
        return self.has_gone


@pytest.fixture
def plane(tmp_path: Path) -> Plane:
    """Where all servers of a grid meet."""
    found = memory_plane(tmp_path, database=tmp_path / "grid.db")
    found.blobs.put("packages/none", b"")
    return found


@asynccontextmanager
async def _server(plane: Plane) -> AsyncIterator[tuple[Service, Placing]]:
    service = Service(
        ServedGrid(InProcessGateway(StillDeployment(plane))), Authenticator([]), Guard(["here"], ()), Rates(None)
    )
    async with service.running():
        yield service, Placing(service)


def _call(server: tuple[Service, Placing], request_id: str | None = None, caller: Caller | None = None) -> LambdaCall:
    request = cast("Request", caller or Caller())
    principal = Principal("desk", frozenset(), frozenset())
    request_id = request_id or str(uuid.uuid4())
    return LambdaCall(server[0], principal, request, b"", "default", "eu-west-1", request_id)


def _invocation(call: LambdaCall, payload: bytes = b"1", version: FunctionVersion = VERSION) -> Invocation:
    return Invocation(call, version, payload, stays=False)


def _run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await test()

    asyncio.run(bounded())


def _sessions(plane: Plane) -> dict[str, SessionRecord]:
    return {record.session_id: record for record in plane.store.sessions(NOW, limit=100)}


def _where(placed: Placed) -> tuple[str, int]:
    return placed.running.record.session_id, placed.index


def test_those_that_come_together_share_a_session_and_each_has_its_own_answer(plane: Plane) -> None:
    async def test() -> None:
        async with _server(plane) as server:
            calls = [_call(server) for _ in range(5)]
            placed = await asyncio.gather(
                *(server[1].place(_invocation(call, b"%d" % n)) for n, call in enumerate(calls))
            )
            assert {session_id for session_id, _ in map(_where, placed)} == set(_sessions(plane))
            assert len(_sessions(plane)) == 1
            waiting = [
                asyncio.create_task(one.running.ended(call, one.index)) for one, call in zip(placed, calls, strict=True)
            ]
            work_on(plane, lambda event: event * 10)
            found = [(await one).outcome for one in waiting]
            assert [decode_json(outcome.payload) for outcome in found if outcome] == [0, 10, 20, 30, 40]

    _run(test)


def test_a_try_at_another_server_is_found(plane: Plane) -> None:
    async def test() -> None:
        names = [str(uuid.uuid4()) for _ in range(3)]
        async with _server(plane) as one, _server(plane) as other:
            first = await asyncio.gather(*(one[1].place(_invocation(_call(one, name))) for name in names))
            alone = await one[1].place(_invocation(_call(one, lone := str(uuid.uuid4()))))
            # Again, one by one and all together, with one that is new.
            again = [await other[1].place(_invocation(_call(other, name))) for name in [*names, lone]]
            assert list(map(_where, again)) == list(map(_where, [*first, alone]))
            mixed = await asyncio.gather(
                *(other[1].place(_invocation(_call(other, name))) for name in [*names, lone, str(uuid.uuid4())])
            )
            assert list(map(_where, mixed[:4])) == list(map(_where, [*first, alone]))
            assert sum(record.counters.total for record in _sessions(plane).values()) == 5
            assert work_on(plane, lambda event: event) > 0
            outcome = (await again[1].running.ended(_call(other), again[1].index)).outcome
            assert outcome is not None
            assert decode_json(outcome.payload) == 1

    _run(test)


def test_what_was_answered_is_known_for_as_long_as_its_claim(plane: Plane) -> None:
    async def test() -> None:
        async with _server(plane) as server:
            names = [str(uuid.uuid4()) for _ in range(2)]
            first = await asyncio.gather(*(server[1].place(_invocation(_call(server, name))) for name in names))
            work_on(plane, lambda event: event)
            plane.clock.sleep(CLAIMED_SECONDS - 60)
            plane.store.expire(plane.clock.now(), 10)
            again = [await server[1].place(_invocation(_call(server, name))) for name in names]
            assert list(map(_where, again)) == list(map(_where, first))
            assert len(plane.store.sessions(plane.clock.now())) == 1

    _run(test)


def test_a_server_that_only_seemed_dead_submits_nothing_twice(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    is_held, may_go = threading.Event(), threading.Event()
    whole = Placing._submit

    async def test() -> None:
        names = [str(uuid.uuid4()) for _ in range(2)]
        async with _server(plane) as slow, _server(plane) as other:

            def submit(self: Placing, session_id: str, calls: list[Invocation], **options: Any) -> SessionRecord:
                if self is slow[1] and len(calls) > 1:  # both are claimed, and neither is submitted
                    is_held.set()
                    assert may_go.wait(30)
                return whole(self, session_id, calls, **options)

            monkeypatch.setattr(Placing, "_submit", submit)
            first = [asyncio.create_task(slow[1].place(_invocation(_call(slow, name)))) for name in names]
            assert await asyncio.to_thread(is_held.wait, 30)
            again = await other[1].place(_invocation(_call(other, names[0])))
            may_go.set()
            placed = await asyncio.gather(*first)
            assert _where(placed[0]) == _where(again)
            assert _where(placed[1]) != _where(again)
            assert sum(record.counters.total for record in _sessions(plane).values()) == 2

    _run(test)


def test_a_session_is_cancelled_once_nobody_waits_for_it(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "LOOK_SECONDS", 0.01)

    async def test() -> None:
        async with _server(plane) as server:
            callers = [Caller(), Caller()]
            calls = [_call(server, caller=caller) for caller in callers]
            placed = await asyncio.gather(*(server[1].place(_invocation(call)) for call in calls))
            waiting = [
                asyncio.create_task(one.running.ended(call, one.index)) for one, call in zip(placed, calls, strict=True)
            ]
            states = (SessionState.RUNNING, SessionState.CANCELLED)
            for caller, one, state in zip(callers, waiting, states, strict=True):
                caller.has_gone = True
                with pytest.raises(LambdaError, match="gone"):
                    await one
                (record,) = _sessions(plane).values()
                assert record.state is state

    _run(test)


@pytest.mark.parametrize("others", [0, 2])
def test_a_call_that_comes_again_outlives_its_first_caller(
    plane: Plane, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    """As an SDK does whose patience has ended: the second try is there before the first is known to have gone."""
    monkeypatch.setattr(running, "LOOK_SECONDS", 0.01)

    async def test() -> None:
        async with _server(plane) as server:

            async def ended(call: LambdaCall, placed: Placed) -> running.Ended:
                return await placed.running.ended(call, placed.index)

            callers = [Caller() for _ in range(1 + others)]
            calls = [_call(server, caller=caller) for caller in callers]
            placed = await asyncio.gather(*(server[1].place(_invocation(call)) for call in calls))
            waiting = [asyncio.create_task(ended(call, one)) for call, one in zip(calls, placed, strict=True)]
            again = _call(server, calls[0].request_id)
            second = await server[1].place(_invocation(again))
            assert _where(second) == _where(placed[0])
            for caller, one in zip(callers, waiting, strict=True):
                caller.has_gone = True
                with pytest.raises(LambdaError, match="gone"):
                    await one
            (record,) = _sessions(plane).values()
            assert record.state is SessionState.RUNNING
            last = asyncio.create_task(ended(again, second))
            work_on(plane, lambda event: event)
            assert (await last).outcome is not None

    _run(test)


def test_what_asks_for_workers_of_its_own_shares_none(plane: Plane) -> None:
    version = VERSION.model_copy(update={"isolation": "session"})

    async def test() -> None:
        async with _server(plane) as server:
            await asyncio.gather(*(server[1].place(_invocation(_call(server), version=version)) for _ in range(3)))
            assert len(_sessions(plane)) == 3

    _run(test)


def test_a_session_is_written_in_one_step(plane: Plane) -> None:
    async def test() -> None:
        async with _server(plane) as server:
            line = _Line([_invocation(_call(server), b"1" * 100_000) for _ in range(2 * CALLS)])
            while line.waiting:
                count = len(line.taken())
                assert 0 < count < 32
                assert -(-count // line.bundle_size(count)) <= WHOLE_BUNDLES
            line.waiting = [_invocation(_call(server)) for _ in range(CALLS + 1)]
            assert [len(line.taken()), len(line.taken())] == [CALLS, 1]
            assert -(-CALLS // line.bundle_size(CALLS)) <= WHOLE_BUNDLES

    _run(test)
