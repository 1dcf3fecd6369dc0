"""What an agent and its workers take of memory, as /proc tells it, and what they may."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from htcgrid_core.adapters.prometheus import PrometheusMetrics
from htcgrid_core.agent import memory, metrics
from htcgrid_core.agent.loop.agent import Agent
from htcgrid_core.agent.settings import AgentIdentity
from htcgrid_core.agent.workers import family
from htcgrid_core.agent.workers.by_runtime import Workers
from htcgrid_core.cli.agents import age_of, memory_of
from htcgrid_core.cli.output import memory_size
from htcgrid_core.domain.agent import AgentMemory, AgentRecord, BegunTask, begun_as_text, begun_of_text
from htcgrid_core.ports.plane import Plane
from htcgrid_core.testing.simulated_workers import Pretence, SimulatedWorkers
from tests.planes import ManualClock

HELD = 50 << 20
HOLDS = f"held = b'x' * {HELD}"
WAITS = "print(flush=True); input()"
CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {f'{HOLDS}; {WAITS}'!r}])"
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")


@contextmanager
def running(code: str) -> Iterator[int]:
    """A Python process that has done what it should; its id."""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.stdin.close()


@linux
def test_what_a_process_and_its_children_hold() -> None:
    with running(WAITS) as idle, running(f"{HOLDS}; {WAITS}") as holds, running(CHILD) as with_child:
        least = family.resident_bytes(idle)
        assert least is not None
        for pid in (holds, with_child):
            told = family.resident_bytes(pid)
            assert told is not None
            assert least + HELD * 0.9 < told < 3 * least + HELD * 1.1


@linux
def test_an_agent_and_its_children(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "_physical_bytes", lambda: 1 << 40)
    before = memory.agent_memory()
    with running(f"{HOLDS}; {WAITS}"):
        (tmp_path / "memory.max").write_text("4294967296\n")  # it may be given more while it runs, or less
        after = memory.agent_memory()
    assert before.used_bytes is not None
    assert after.used_bytes is not None
    assert after.used_bytes > before.used_bytes + HELD * 0.9
    assert (before.limit_bytes, after.limit_bytes) == (1 << 40, 1 << 32)


def test_one_that_has_ended_takes_nothing_that_is_known() -> None:
    with running(WAITS) as pid:
        pass
    assert family.resident_bytes(pid) is None


def test_where_there_is_no_proc_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(path: str, *_: object, **__: object) -> object:
        raise FileNotFoundError(path)

    monkeypatch.setattr(family, "open", missing, raising=False)
    monkeypatch.setattr(os, "listdir", missing)
    told = memory.agent_memory()
    assert told.used_bytes is None
    assert told.limit_bytes is not None, "what the machine has is known"


def test_slots_without_a_worker_take_nothing(tmp_path: Path) -> None:
    workers = Workers(2, None, tmp_path)
    try:
        assert workers.resident_bytes(0) is None
    finally:
        workers.close()


class TestHeartbeats:
    """They tell it, once each."""

    def test_since_when_and_how_much(self, plane: Plane, clock: ManualClock) -> None:
        """Read anew for each of them."""
        taken = iter(range(100, 200))
        agent = _agent(plane, clock, lambda: AgentMemory(next(taken), 1000))
        began = clock.now()
        agent.step()
        (first,) = plane.store.agents(clock.now())
        assert (first.started_at, first.memory_bytes, first.memory_limit_bytes) == (began, 100, 1000)
        while (told := plane.store.agents(clock.now())) == [first]:
            agent.step()
        assert (told[0].started_at, told[0].memory_bytes) == (began, 101)

    def test_nobody_knows(self, plane: Plane, clock: ManualClock) -> None:
        """Then nor do the others."""
        _agent(plane, clock, AgentMemory).step()
        (told,) = plane.store.agents(clock.now())
        assert (told.memory_bytes, told.memory_limit_bytes) == (None, None)


def _agent(plane: Plane, clock: ManualClock, memory: Callable[[], AgentMemory]) -> Agent:
    def block(until: float) -> bool:
        clock.pass_(max(0.0, until - clock.monotonic()))
        return False

    workers = SimulatedWorkers(2, clock, block, lambda *_: Pretence(1.0))
    return Agent(plane, workers, AgentIdentity("agent-1"), memory=memory)


def test_metrics_are_absent_where_nobody_knows(plane: Plane, clock: ManualClock) -> None:
    page = PrometheusMetrics("book", "default")
    metrics.show(_agent(plane, clock, lambda: AgentMemory(None, 1 << 30)), page)
    text = page.page()[1].decode()
    assert "htcgrid_memory_bytes" not in text
    assert 'htcgrid_memory_limit_bytes{grid="book",pool="default"} 1.073741824e+09' in text


def test_what_the_release_before_tells_of_a_slot_is_unknown_and_it_can_read_what_this_one_tells() -> None:
    """It took what comes after the fields that it knew for a later release's."""
    assert begun_of_text('{"s-1":[[3,2.5,"printed","said",1]]}') == (BegunTask("s-1", 3, 2.5, "printed", "said", 1),)
    told = (BegunTask("s-1", 3, 2.5, "printed", "said", 1, 5, HELD), BegunTask("s-1", 4, 2.5, slot=6))
    assert begun_of_text(begun_as_text(told)) == told
    assert begun_of_text('{"s-1":[[3,2.5,"","",1,5,7,"of tomorrow"]]}') == (BegunTask("s-1", 3, 2.5, "", "", 1, 5, 7),)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0.0 MiB"), (5 << 19, "2.5 MiB"), (412 << 20, "412 MiB"), (19 << 27, "2.4 GiB"), (3 << 40, "3.0 TiB")],
)
def test_memory_as_people_say_it(size: int, text: str) -> None:
    assert memory_size(size) == text


@pytest.mark.parametrize(
    ("used", "limit", "text"),
    [
        (412 << 20, 2 << 30, "412 MiB of 2.0 GiB"),
        (412 << 20, None, "412 MiB"),
        (None, 2 << 30, "unknown of 2.0 GiB"),
        (None, None, "unknown"),
    ],
)
def test_agents_as_people_are_told_of_them(used: int | None, limit: int | None, text: str) -> None:
    agent = AgentRecord("a", "default", "host", 1, 2, 0, 1000.0, memory_bytes=used, memory_limit_bytes=limit)
    assert memory_of(agent) == text
    assert age_of(agent, 1000.0) == "unknown"
