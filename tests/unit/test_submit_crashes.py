"""A submitter dies at any of its port calls, before or after the call took effect: enumerated, not sampled (S1)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core.codecs.tasks import task_of
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import SessionNotFound
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import results
from htcgrid_core.services.reconcile import reconcile
from htcgrid_core.testing.contracts.facts import assert_counters_exact, assert_history_chains
from tests.faults import Crash, calls_of, failing_at
from tests.manual_agent import finish, parse, submit, work_on
from tests.planes import memory_plane, spec

ID = "t-0123456789"
INLINE_BYTES = 2000
LARGE = "x" * (INLINE_BYTES + 1)

# (events, options): in one step; in many; with blobs; pickled; nothing at all
BODIES: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "one step": (list(range(5)), {"bundle_size": 2}),
    "many steps": (list(range(140)), {"bundle_size": 1}),
    "blobs": ([LARGE, "small", LARGE + "y"], {}),
    "pickled": ([{1, 2}, {3}], {"codec": "pickle"}),
    "empty": ([], {}),
}


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blobs, and vectors that are not held whole, without megabytes for each of hundreds of crashes."""
    monkeypatch.setattr(limits, "INLINE_PAYLOAD_BYTES", INLINE_BYTES)
    monkeypatch.setattr(limits, "SUBMIT_BUFFER_BYTES", 2 * INLINE_BYTES)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def send(plane: Plane, body: str) -> None:
    events, options = BODIES[body]
    submit(plane, ID, spec(**options), events, idempotent=True)


def crashes_of(folder: Path, body: str) -> Iterator[tuple[int, bool]]:
    """Every port call of a submission, and whether it took effect before the crash."""
    count = len(calls_of(memory_plane(folder / "count"), lambda plane: send(plane, body)))
    assert count >= 3
    yield from product(range(1, count + 1), (False, True))


def plane_at(folder: Path, *numbers: object) -> Plane:
    return memory_plane(folder / "-".join(map(str, numbers)))


def assert_whole_and_once(plane: Plane, body: str) -> None:
    """One session with exactly these tasks, which end with exactly these results."""
    events, _ = BODIES[body]
    finish(plane, lambda event: [event])
    (record,) = plane.store.sessions(plane.clock.now())
    assert record.session_id == ID
    assert record.state is SessionState.COMPLETED
    assert record.counters.completed == record.counters.total == len(events)
    spec_of_it = parse(record)
    found = [(index, outcome) for index, outcome in results.in_index_order(plane, record, spec_of_it)]
    assert [index for index, _ in found] == list(range(len(events)))
    assert [task_of(spec_of_it, outcome).result for _, outcome in found if outcome] == [[e] for e in events]
    assert_counters_exact(plane.store, ID)
    assert_history_chains(plane.store, ID)


@pytest.mark.parametrize("body", BODIES)
def test_the_same_token_carries_on(folder: Path, body: str) -> None:
    for number, applied in crashes_of(folder, body):
        plane = plane_at(folder, number, applied)
        with pytest.raises(Crash):
            send(failing_at(plane, number, Crash, applied=applied), body)
        send(plane, body)
        assert_whole_and_once(plane, body)


@pytest.mark.parametrize("body", BODIES)
def test_the_same_token_carries_on_while_agents_work(folder: Path, body: str) -> None:
    """Agents have run what they found before the second try comes."""
    for number, applied in crashes_of(folder, body):
        plane = plane_at(folder, number, applied)
        with pytest.raises(Crash):
            send(failing_at(plane, number, Crash, applied=applied), body)
        work_on(plane, lambda event: [event], bundles=3)
        send(plane, body)
        assert_whole_and_once(plane, body)


@pytest.mark.parametrize("body", ["one step", "pickled", "empty"])
def test_dying_twice(folder: Path, body: str) -> None:
    for (first, applied), (second, applied_too) in product(list(crashes_of(folder, body)), repeat=2):
        plane = plane_at(folder, first, applied, second, applied_too)
        with pytest.raises(Crash):
            send(failing_at(plane, first, Crash, applied=applied), body)
        try:
            send(failing_at(plane, second, Crash, applied=applied_too), body)
        except Crash:
            send(plane, body)
        assert_whole_and_once(plane, body)


@pytest.mark.parametrize("body", BODIES)
def test_nobody_comes_back(folder: Path, body: str) -> None:
    """What was acknowledged runs to its end; what was not is aborted by the reconciler. Nothing stays for ever."""
    ends: set[SessionState | None] = set()
    for number, applied in crashes_of(folder, body):
        plane = plane_at(folder, number, applied)
        with pytest.raises(Crash):
            send(failing_at(plane, number, Crash, applied=applied), body)
        try:
            acknowledged = plane.store.session(ID, plane.clock.now()).acknowledged
        except SessionNotFound:
            ends.add(None)
            continue
        finish(plane, lambda event: [event])
        plane.clock.sleep(limits.SUBMIT_STALL_SECONDS + 1)
        reconcile(plane, limits.LOCAL_RECONCILE_TICK_SECONDS)
        record = plane.store.session(ID, plane.clock.now())
        assert plane.store.live_sessions() == []
        assert record.state is (SessionState.COMPLETED if acknowledged else SessionState.CANCELLED)
        assert_counters_exact(plane.store, ID)
        ends.add(record.state)
        if not acknowledged:
            send(plane, body)  # the token is free again
            assert_whole_and_once(plane, body)
    in_many_steps = body in ("many steps", "blobs")
    assert ends == {None, SessionState.COMPLETED, *([SessionState.CANCELLED] if in_many_steps else [])}
