"""What is compared with what, and what the grid aims at. The bounds are here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tests.bench.case import Case
from tests.bench.comparison import Comparison, Source, Target
from tests.bench.sections import arrays as arrays_section
from tests.bench.sections import efficiency as efficiency_section
from tests.bench.sections import payloads as payloads_section
from tests.bench.sections import runtimes as runtimes_section
from tests.bench.sections import schemas as schemas_section
from tests.bench.sections import shared as shared_section

HEARTBEAT_S = 5.0

# Times a peer's own number
RATE = {"ProcessPool": 3, "Ray": 15, "Dask": 40, "Celery": 40}
ROUND_TRIP = {"ProcessPool": 2.0, "Ray": 0.5}
SUBMITTING = Target("at most", 1.0)
POLL_OF_A_MILLION = Target("at most", 1.5)

# Absolute
CPU_MS_PER_TASK = Target("at most", 0.04)
ROUND_TRIP_P99_MS = Target("at most", 10)
IDLE_PERCENT = Target("at most", 0.3)
SUBMIT_MIB = Target("at most", 100)
READ_MIB = Target("at most", 64)
WAKE_MS = Target("at most", 50)
SLEEP_EFFICIENCY = {"1ms": 0.80, "10ms": 0.97, "100ms": 0.995}
WAITING = (
    ("wake", "wake_small_ms_p50", "the same, 200 tasks, p50, ms", WAKE_MS),
    ("wake", "wake_small_ms_max", "the same, 200 tasks, max, ms", WAKE_MS),
    ("cancel", "cancel_call_s", "cancel() of a million tasks returns, s", Target("at most", 1)),
    ("cancel", "cancel_state_s", "the session is CANCELLED, s", Target("at most", 2 * HEARTBEAT_S)),
    ("stubborn", "stubborn_gone_s", "a task that ignores SIGTERM is gone, s", Target("at most", HEARTBEAT_S)),
    ("stubborn", "stubborn_state_s", "its session is CANCELLED, s", Target("at most", 2 * HEARTBEAT_S)),
)
SUSTAINED = (
    ("tasks_lost", "tasks lost", Target("at most", 0)),
    ("tasks_per_s", "tasks/s achieved", None),
    ("rate_share", "the same, share of the rate offered", Target("at least", 0.99)),
    ("overhead_ms_p50", "submit to visible result, less the task's 1 s, p50, ms", Target("at most", 100)),
    ("overhead_ms_p95", "the same, p95, ms", None),
    ("overhead_ms_p99", "the same, p99, ms", Target("at most", 500)),
    ("overhead_ms_max", "the same, max, ms", None),
    ("cores", "CPU cores of all processes", Target("at most", 1)),
    ("agent_cores", "of these, the agent", None),
    ("submit_ms_p50", "submit() of a session returns, p50, ms", None),
    ("submit_late_ms_max", "submit() called after it was due, max, ms", None),
)
ARRAYS = (
    ("products_s", "joblib, products of arrays in all slots, s", Target("at most", 1.2)),
    ("shared_s", "joblib, calls that share arrays in a dictionary, s", Target("at most", 2.0)),
    ("shared_memory_mib", "the same, growth of all processes' memory, MiB", None),
)
PAYLOADS = {"8mb": "8 MB", "64mb": "64 MB", "256kb": "256 KB"}
PAYLOAD_RATE = {"ProcessPool": 1.0, "Ray": 0.5}  # of 8 MB
STREAMED_PAYLOADS = Target("at most", 3)
DISK_SHARE = Target("at most", 1.1)
SHARED_VERSUS_RAY = Target("at most", 2.0)
SHARED_ARRAYS = Target("at most", 1.2)
CHECKED = Target("at most", 2.0)  # times the same submission without
EFFICIENCY = {"constant 1 s": 0.95, "lognormal, mean 1 s": 0.90, "1 s, 1% take 10 s": 0.90}

PEERS = tuple(RATE)
PEERS_AT_REST = ("ProcessPool", "Ray", "Dask")
LEAST = "bare relay"
BATCHED_BY_HAND = ("Pool.imap", "Pool.imap/256")
MILLION = Case("million", "grid.submit")
SUBMIT = "grid.submit"


def comparisons() -> list[Comparison]:
    """All rows, in the order of the table."""
    return [
        *throughput(),
        *roundtrip(),
        *million(),
        *granularity(),
        *sustained(),
        *efficiency(),
        *payloads(),
        *shared(),
        *arrays(),
        *runtimes(),
        *schemas(),
    ]


def schemas() -> Iterator[Comparison]:
    """A check may take as long as a plain loop that decodes and checks, and the submission twice as long as without."""
    case = Case("schemas", schemas_section.SUBMIT)
    unchecked = Source(case, "off_s", label="unchecked")
    yield Comparison("a million checked events submitted, s", Source(case, "all_s"), unchecked, CHECKED)
    yield Comparison("a sample of them checked, s", Source(case, "sample_s"), unchecked)
    for peer in schemas_section.PEERS:
        yield _versus("the check alone, s", "check_s", case, peer)


def runtimes() -> Iterator[Comparison]:
    """A deployed function on many slots, native and through AWS's client: what the choice costs."""
    native = Case("runtimes", "native")
    for metric, what in (("tasks_per_s", "tasks/s"), ("cpu_ms_per_task", "CPU ms per task, all processes")):
        yield _versus(f"deployed, {runtimes_section.SLOTS} slots: {what}", metric, native, runtimes_section.CLIENT)


def throughput() -> Iterator[Comparison]:
    """Several times the tasks a second of every peer, for little CPU a task. What travels as pickle is compared too."""
    for grid in (SUBMIT, "grid.map"):
        for peer in (*PEERS, *BATCHED_BY_HAND):
            target = _at_least(RATE, peer) if grid == SUBMIT else None
            yield Comparison("tasks/s", _rounds(grid, "tasks_per_s"), _rounds(peer, "tasks_per_s"), target)
    what, metric = "CPU ms per task, all processes", "cpu_ms_per_task"
    yield Comparison(what, _rounds(SUBMIT, metric), None, CPU_MS_PER_TASK)
    for grid in (SUBMIT, "grid.map"):
        for peer in (*PEERS, *BATCHED_BY_HAND):
            yield Comparison(what, _rounds(grid, metric), _rounds(peer, metric))
    for peer in PEERS:
        yield _versus("from nothing to the first result, s", "first_result_s", Case("throughput", SUBMIT), peer)


def roundtrip() -> Iterator[Comparison]:
    """A lone task must not wait for a poll; an idle grid must cost nothing."""
    for grid in ("grid.executor", SUBMIT):
        for peer in PEERS_AT_REST:
            target = Target("at most", ROUND_TRIP[peer]) if peer in ROUND_TRIP else None
            yield _versus("idle round trip p50, ms", "round_trip_ms_p50", Case("roundtrip", grid), peer, target)
        yield _versus("idle round trip p50, ms", "round_trip_ms_p50", Case("roundtrip", grid), LEAST)
    for peer in PEERS_AT_REST:
        yield _versus("the least for three transactions, p50, ms", "round_trip_ms_p50", Case("roundtrip", LEAST), peer)
    for grid in ("grid.executor", SUBMIT):
        case = Case("roundtrip", grid)
        yield Comparison("idle round trip p99, ms", Source(case, "round_trip_ms_p99"), None, ROUND_TRIP_P99_MS)
        for peer in PEERS_AT_REST:
            yield _versus("idle round trip p99, ms", "round_trip_ms_p99", case, peer)
    what, case = "CPU with nothing to do, % of one core", Case("roundtrip", SUBMIT)
    yield Comparison(what, Source(case, "idle_cpu_percent"), None, IDLE_PERCENT)
    for peer in PEERS_AT_REST:
        yield _versus(what, "idle_cpu_percent", case, peer)


def million() -> Iterator[Comparison]:
    """Nothing that a client does with a million tasks may hold a million of anything."""
    yield _versus("submitting, s", "submit_s", MILLION, "ProcessPool", SUBMITTING)
    yield Comparison("memory growth while submitting, MiB", Source(MILLION, "submit_memory_mib"), None, SUBMIT_MIB)
    yield _versus("memory growth while submitting, MiB", "submit_memory_mib", MILLION, "ProcessPool")
    yield _versus("tasks/s from first submit to last task", "tasks_per_s", MILLION, "ProcessPool")
    for when in ("busy", "idle"):
        large = Source(MILLION, f"poll_large_{when}_ms")
        small = Source(MILLION, f"poll_small_{when}_ms", label="1,000 tasks")
        yield Comparison(f"progress poll while {when}, ms", large, small, POLL_OF_A_MILLION)
    yield Comparison("memory growth while waiting, MiB", Source(MILLION, "wait_memory_mib"), None, READ_MIB)
    yield Comparison("memory growth while reading, MiB", Source(MILLION, "results_memory_mib"), None, READ_MIB)
    yield Comparison("results read/s", Source(MILLION, "results_per_s"))
    yield Comparison("last task's end to waking, ms", Source(MILLION, "wake_ms"), None, WAKE_MS)
    for subject, metric, what, target in WAITING:
        yield Comparison(what, Source(Case("million", subject), metric), None, target)


def granularity() -> Iterator[Comparison]:
    """Nearly all of the time of two workers, however short their tasks."""
    case = Case("granularity", SUBMIT)
    for kind in ("sleep", "busy"):
        for duration, share in SLEEP_EFFICIENCY.items():
            metric, what = f"efficiency_{kind}_{duration}", f"efficiency, {kind} {duration.removesuffix('ms')} ms"
            yield Comparison(what, Source(case, metric), None, Target("at least", share) if kind == "sleep" else None)
            for peer in PEERS_AT_REST:
                yield _versus(what, metric, case, peer)


def sustained() -> Iterator[Comparison]:
    """10,000 tasks a second for a minute: none lost, none late, on one core."""
    for metric, what, target in SUSTAINED:
        yield Comparison(what, Source(Case("sustained", SUBMIT), metric), None, target)


def efficiency() -> Iterator[Comparison]:
    """Near an ideal queue of single tasks, whatever the durations and however many the agents."""
    for subject, fleet in efficiency_section.FLEETS.items():
        for kind, share in EFFICIENCY.items():
            source = Source(Case("efficiency", subject), kind, label=str(fleet))
            yield Comparison(f"share of the ideal, {kind}", source, None, Target("at least", share))


def payloads() -> Iterator[Comparison]:
    """Large payloads as fast as through the pipes of a pool, though they are stored; and nothing held that was read."""
    for direction in ("results", "events"):
        for size, words in PAYLOADS.items():
            for grid in payloads_section.SUBJECTS[:2]:
                for peer in payloads_section.SUBJECTS[2:]:
                    target = _at_least(PAYLOAD_RATE, peer) if size == "8mb" else None
                    what = f"{direction} of {words}, MB/s"
                    yield _versus(what, f"{direction}_{size}", Case("payloads", grid), peer, target)
    streamed = Case("payloads", payloads_section.STREAMED)
    what = "client's peak memory while results of 8 MB are streamed, payloads"
    yield Comparison(what, Source(streamed, "streamed_payloads"), None, STREAMED_PAYLOADS)
    yield Comparison("disk for results of 8 MB, times what is kept", Source(streamed, "disk_share"), None, DISK_SHARE)


def shared() -> Iterator[Comparison]:
    """An array that is put once and read by many tasks is one array in the memory of all workers."""
    grid, *peers = shared_section.SUBJECTS
    case = Case("shared", grid)
    for metric, what in (("put_s", "put"), ("gets_s", "reads"), ("put_and_gets_s", "put and reads")):
        for peer in peers:
            target = SHARED_VERSUS_RAY if (metric, peer) == ("put_and_gets_s", "Ray") else None
            yield _versus(f"shared input of 200 MB, 200 tasks: {what}, s", metric, case, peer, target)
    what, metric = "the same, growth of the workers' proportional memory, arrays", "memory_arrays"
    yield Comparison(what, Source(case, metric), None, SHARED_ARRAYS)
    for peer in peers:
        yield _versus(what, metric, case, peer)


def arrays() -> Iterator[Comparison]:
    """joblib's calls are not to be slower for what a worker's libraries do, nor for arrays that calls share."""
    grid, loky = (Case("arrays", subject) for subject in arrays_section.SUBJECTS)
    for metric, what, target in ARRAYS:
        yield Comparison(what, Source(grid, metric), Source(loky, metric), target)


def _at_least(bounds: Mapping[str, float], peer: str) -> Target | None:
    return Target("at least", bounds[peer]) if peer in bounds else None


def _rounds(subject: str, metric: str) -> Source:
    return Source(Case("throughput", subject), f"{metric}_median", f"{metric}_best")


def _versus(what: str, metric: str, grid: Case, peer: str, target: Target | None = None) -> Comparison:
    return Comparison(what, Source(grid, metric), Source(Case(grid.section, peer), metric), target)
