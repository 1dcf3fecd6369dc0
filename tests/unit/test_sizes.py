"""Sizes: what fits into which pool, what is measured and recommended, and what moves."""

from __future__ import annotations

import random
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from htcgrid_core.agent import memory
from htcgrid_core.agent.loop.usage_tally import FUNCTIONS, TOLD_AT_ONCE, UsageTally
from htcgrid_core.agent.workers import crashes
from htcgrid_core.agent.workers.native import hearing, meter, wire
from htcgrid_core.domain.demand import demand_of
from htcgrid_core.domain.errors import CorruptPayload, InvalidInput, UnknownGrid
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.pool import PoolSize
from htcgrid_core.domain.retry import RetryPolicy
from htcgrid_core.domain.session import Counters, SessionRecord, SessionSpec
from htcgrid_core.domain.task_error import OUT_OF_MEMORY, ran_out_of_memory
from htcgrid_core.domain.usage import GROWTH, OTHERS, FunctionUsage, measured, usage_of_text
from htcgrid_core.local.address import parse_local
from htcgrid_core.local.fleet import read_size, size_text
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.ports.worker import FunctionRef, Used
from htcgrid_core.services.hints import by_pool
from htcgrid_core.services.recommending import recommend, together
from htcgrid_core.services.sizes import check_sizes
from tests.planes import ManualClock

HANDLER = FunctionSpec(name="a.b")
POOLS = [PoolSize("default", 512, 1.0), PoolSize("large", 2048, 4.0), PoolSize("unknown")]


def spec(**options: Any) -> SessionSpec:
    return SessionSpec(function=HANDLER, **options)


# Errors and moves


@pytest.mark.parametrize("kind", ["MemoryError", "_ArrayMemoryError", "java.lang.OutOfMemoryError", OUT_OF_MEMORY])
def test_types_of_errors_that_more_memory_helps(kind: str) -> None:
    assert ran_out_of_memory(kind)
    policy = RetryPolicy(max_attempts=1, never_retry=(kind,), on_out_of_memory="large")
    assert policy.moves_from("default", kind)
    assert not policy.moves_from("large", kind)
    assert not RetryPolicy().moves_from("default", kind)


@pytest.mark.parametrize("kind", ["ValueError", "WorkerCrashed", "AgentLost", "TaskTimeout", "OutOfMemory.Not", ""])
def test_types_that_it_does_not(kind: str) -> None:
    assert not RetryPolicy(on_out_of_memory="large").moves_from("default", kind)


def test_a_policy_that_says_nothing_of_it_is_written_as_before() -> None:
    assert "memory" not in RetryPolicy().model_dump_json()
    assert "larger" not in spec(retry=RetryPolicy()).text
    told = spec(retry=RetryPolicy(on_out_of_memory="large"))
    record = SessionRecord("s-1", SessionState.RUNNING, told.text, "", Counters(), 0.0, 0.0)
    assert (record.larger_pool, record.parsed_spec()) == ("large", told)
    assert SessionRecord("s-1", SessionState.RUNNING, spec().text, "", Counters(), 0.0, 0.0).larger_pool == ""


def test_hints_go_to_the_pools_of_their_bundles() -> None:
    home, moved = Hint("s-1", "00000000"), Hint("s-1", "00000001.ab", pool="large")
    assert by_pool("default", [home, moved]) == {"default": [home], "large": [moved]}


def test_a_larger_pool_is_scaled_for_what_may_be_there() -> None:
    """Or nobody would ever begin an agent there."""
    told = spec(retry=RetryPolicy(on_out_of_memory="large")).text
    counters = Counters(total=100, completed=10, task_seconds=6000.0, retrying=3)
    record = SessionRecord("s-1", SessionState.RUNNING, told, "", counters, 0.0, 0.0)
    wanted = {(one.pool, one.priority): one for one in demand_of([record], {})}
    assert wanted["large", "normal"].tasks == 3
    assert wanted["large", "normal"].slots_wanted == 3
    assert wanted["default", "normal"].tasks == 90
    nothing = SessionRecord("s-1", SessionState.RUNNING, told, "", Counters(total=9), 0.0, 0.0)
    assert {one.pool for one in demand_of([nothing], {})} == {"default"}


# What fits


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"memory_mb": 900}, r"'default' has 512 MiB, and each task asks for 900: .*: large \(2,048\)"),
        ({"memory_mb": 4096, "pool": "large"}, "no pool is known to have as many MiB"),
        ({"cpus": 2.0}, r"'default' has 1 cores, and each task asks for 2: .*: large \(4\)"),
        (
            {"pool": "large", "retry": {"on_out_of_memory": "default"}},
            "slots have 512 MiB, and tasks have 2,048 before",
        ),
        ({"memory_mb": 2048, "pool": "unknown", "retry": {"on_out_of_memory": "large"}}, "slots have 2,048 MiB"),
        ({"cpus": 3.0, "pool": "large", "retry": {"on_out_of_memory": "default"}}, "on_out_of_memory names pool"),
    ],
)
def test_what_does_not_fit(options: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=wrong):
        check_sizes(spec(**options), POOLS)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"memory_mb": 512, "cpus": 1.0},
        {"memory_mb": 1 << 20, "pool": "unknown"},
        {"memory_mb": 64, "pool": "nobody-knows"},
        {"retry": {"on_out_of_memory": "large"}},
        {"retry": {"on_out_of_memory": "unknown"}, "memory_mb": 512},
    ],
)
def test_what_does_or_is_not_known_not_to(options: dict[str, Any]) -> None:
    check_sizes(spec(**options), POOLS)


# What was measured


@given(st.lists(st.floats(1.0, 1e6), min_size=1, max_size=50), st.floats(0.01, 1.0))
def test_shares_of_peaks_are_known_to_within_a_tenth(peaks: list[float], share: float) -> None:
    """Against the peaks themselves, sorted."""
    usage = measured("f", 1, peaks[0], 0.0, 1.0, 1.0)
    for peak in peaks[1:]:
        usage = usage.plus(measured("f", 1, peak, 0.0, 1.0, 1.0))
    assert usage.tasks == len(peaks)
    assert usage.peak_mb == max(peaks)
    rank = next(n for n in range(1, len(peaks) + 1) if n >= share * len(peaks))
    exact = sorted(peaks)[rank - 1]
    assert exact / 1.0001 <= usage.peak_of(share) <= exact * GROWTH * 1.0001


def test_usage_as_text_is_read_by_whoever_comes_later() -> None:
    usage = measured("f", 7, 123.4, 1.5, 2.5, 9.0).plus(FunctionUsage("f", out_of_memory=2, too_little_mb=64, at=10.0))
    assert usage_of_text("f", usage.text()) == usage
    for damaged in ("", "[]", "{}", '{"tasks": "many"}', usage.text().replace('"at"', '"when"')):
        assert usage_of_text("f", damaged) is None


def test_what_is_told_is_told_once_a_while_and_again_if_it_may_be_lost() -> None:
    clock = ManualClock()
    tally = UsageTally(clock)
    event = Used(0, 1, 10, 100.0, 1.0, 2.0)
    tally.used("f", event)
    tally.ran_out("f", 512)
    (told,) = tally.due(60.0)
    assert (told.tasks, told.out_of_memory, told.too_little_mb) == (10, 1, 512)
    tally.used("f", event)
    assert tally.due(60.0) == []
    tally.not_told([told])
    (again,) = tally.due(60.0)
    assert again.tasks == 20, "the whole sum, so that one that is lost does no harm"
    assert tally.due(60.0) == []
    tally.used("f", event)
    clock.pass_(60.0)
    assert [usage.tasks for usage in tally.due(60.0)] == [30]


def test_an_agent_forgets_nothing_of_however_many_functions(caplog: pytest.LogCaptureFixture) -> None:
    """Beyond a number they are one, which the log says; those that it knew go on from what was told of them."""
    clock = ManualClock()
    tally = UsageTally(clock)
    told: dict[str, FunctionUsage] = {}

    def tell() -> None:
        while due := tally.due(0.0):
            assert len(due) <= TOLD_AT_ONCE
            told.update({usage.function: usage for usage in due})

    for number in range(FUNCTIONS + 50):
        tally.used(f"f{number}", Used(0, 1, 1, 100.0, 1.0, 2.0))
    tell()
    tally.used("f0", Used(0, 1, 1, 100.0, 1.0, 2.0))
    tally.ran_out(f"f{FUNCTIONS}", 512)
    tell()
    assert sum(usage.tasks for usage in told.values()) == FUNCTIONS + 50 + 1
    assert told["f0"].tasks == 2
    assert (told[OTHERS].tasks, told[OTHERS].out_of_memory) == (50, 1)
    assert len(told) == FUNCTIONS + 1
    assert caplog.text.count("measured together") == 1


# What is recommended


def test_a_peak_and_a_quarter_more() -> None:
    found = recommend("f", [measured("f", 90, 100.0, 90.0, 100.0, 1.0), measured("f", 10, 900.0, 5.0, 10.0, 2.0)])
    assert (found.memory_mb, found.cpus, found.usual_mb) == (1152, 1.0, 900.0)
    assert found.is_known
    assert "900 MiB, and 25% headroom" in found.why
    assert found.usage is not None
    assert found.usage.tasks == 100


@pytest.mark.parametrize(("cpu_seconds", "cpus"), [(0.1, 0.25), (4.0, 0.5), (10.0, 1.0), (35.0, 3.5), (36.0, 3.75)])
def test_cores_in_quarters(cpu_seconds: float, cpus: float) -> None:
    assert recommend("f", [measured("f", 1, 10.0, cpu_seconds, 10.0, 1.0)]).cpus == cpus


def test_nothing_is_made_up() -> None:
    for usages in ([], [FunctionUsage("f")], [FunctionUsage("f", out_of_memory=3)]):
        found = recommend("f", usages)
        assert (found.memory_mb, found.cpus, found.is_known) == (None, None, False)
    not_measurable = recommend("f", [measured("f", 5, 0.0, 0.0, 1.0, 1.0)])
    assert (not_measurable.memory_mb, not_measurable.why) == (None, "its agents cannot measure memory")


def test_where_nobody_has_seen_what_is_enough() -> None:
    starved = FunctionUsage("f", out_of_memory=4, too_little_mb=512)
    found = recommend("f", [measured("f", 4, 480.0, 1.0, 1.0, 1.0), starved])
    assert (found.memory_mb, found.is_known) == (1024, True)
    assert recommend("f", [starved]).memory_mb == 1024
    assert recommend("f", [starved, measured("f", 1, 900.0, 1.0, 1.0, 1.0)]).memory_mb == 1152


def test_agents_are_added_up_by_function() -> None:
    first, second = measured("a:1", 1, 10.0, 1.0, 1.0, 1.0), measured("b:1", 1, 10.0, 1.0, 1.0, 1.0)
    assert [(usage.function, usage.tasks) for usage in together([second, first, first])] == [("a:1", 2), ("b:1", 1)]


# Workers and pools of one machine


def test_a_process_knows_its_peak_and_forgets_it() -> None:
    if not meter.peak_mb():
        pytest.skip("this kernel does not say")
    held = bytearray(64 << 20)
    held[::4096] = bytes(len(held[::4096])).replace(b"\0", b"1")
    high = meter.peak_mb()
    del held
    assert meter.peak_mb() > high - 2, "a peak stays"
    meter.forget_peak()
    assert meter.peak_mb() < high - 32
    before = meter.cpu_seconds()
    sum(random.random() for _ in range(200_000))
    assert meter.cpu_seconds() > before


@pytest.mark.parametrize(
    "told",
    [
        (0, 1.0, 1.0, 1.0),
        (1, -1.0, 1.0, 1.0),
        (1, float("nan"), 1.0, 1.0),
        (1, 1.0, float("inf"), 1.0),
        (1, 1.0, 1.0, 99.0),
    ],
)
def test_what_no_worker_can_have_used(told: tuple[int, float, float, float]) -> None:
    body = wire.used_message(7, *told)[wire.HEAD.size :]
    with pytest.raises(CorruptPayload):
        hearing.used_in(body, 10.0)


def test_what_one_can() -> None:
    body = wire.used_message(7, 3, 123.5, 0.5, 2.0)[wire.HEAD.size :]
    assert hearing.used_in(body, 10.0) == (7, 3, 123.5, 0.5, 2.0)


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A container's, in which nobody was killed yet."""
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 0\noom_kill 0\noom_group_kill 0\n")
    monkeypatch.setattr(crashes, "KILLS", memory.MemoryKills())
    return tmp_path / "memory.events"


def test_a_kill_for_memory_is_told_from_any_other(cgroup: Path) -> None:
    function = FunctionRef("k", "s-1", spec(memory_mb=512))
    killed = crashes.crash_of(-signal.SIGKILL, function, 498, "")
    assert (killed.type, killed.is_out_of_memory) == ("WorkerCrashed", False)
    assert "(out of memory?): it had 512 MiB, and it had used 498 MiB at most" in killed.message
    cgroup.write_text(cgroup.read_text().replace("oom_kill 0", "oom_kill 1"))
    killed = crashes.crash_of(-signal.SIGKILL, function, 498, "log")
    assert (killed.type, killed.is_out_of_memory, killed.traceback) == (OUT_OF_MEMORY, True, "log")
    assert "killed for memory: it had 512 MiB, and it had used 498 MiB at most" in killed.message
    assert crashes.crash_of(-signal.SIGKILL, function, 0, "").type == "WorkerCrashed", "each kill explains one"
    assert crashes.crash_of(-signal.SIGSEGV, function, 0, "").message == "the worker was killed by SIGSEGV"
    cgroup.unlink()
    assert crashes.crash_of(-signal.SIGKILL, function, 0, "").type == "WorkerCrashed"


def test_pools_of_a_url() -> None:
    _, fleet = parse_local("local:///grid?pools=default:512,large:2048:1.5,any")
    assert fleet.sizes == (PoolSize("default", 512), PoolSize("large", 2048, 1.5), PoolSize("any"))
    assert [read_size(size_text(size)) for size in fleet.sizes] == list(fleet.sizes)
    _, fleet = parse_local("local:///grid?pools=large:2048")
    assert [size.pool for size in fleet.sizes] == ["default", "large"]
    for wrong in ("Large:1", "large:lots", "large:31", "large:64:0", "large:64:1:1", "a:64,a:128", ""):
        with pytest.raises(UnknownGrid, match="pools"):
            parse_local(f"local:///grid?pools={wrong}")
