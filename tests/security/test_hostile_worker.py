"""What a worker says is hostile input: whatever a handler writes to its worker's connection and memory, the agent goes
on, and other sessions get the results of their own tasks.

HYPOTHESIS_PROFILE=search looks further.
"""

from __future__ import annotations

import json
import math
import os
import struct
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from htcgrid_core import RetryPolicy, Session
from htcgrid_core.adapters.local.clock import SystemClock
from htcgrid_core.agent.loop.agent import Agent
from htcgrid_core.agent.settings import AgentIdentity
from htcgrid_core.agent.workers.native import wire
from htcgrid_core.agent.workers.native.assignments import Assignments
from htcgrid_core.agent.workers.native.hearing import CALENDAR_SECONDS, ERROR_BYTES, PRINTED_CHARACTERS, outcomes_in
from htcgrid_core.agent.workers.native.process import Process
from htcgrid_core.agent.workers.native.wire import ChunkBody, Kind
from htcgrid_core.codecs import outcomes as codec
from htcgrid_core.codecs.frames import checksummed
from htcgrid_core.codecs.outcomes import Outcomes
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.domain.metrics import Metric
from htcgrid_core.ports.metrics import NoMetrics
from htcgrid_core.ports.worker import Chunk, FunctionRef, WorkerLost
from tests.planes import memory_plane, spec, still_grid
from tests.security.played_workers import Looking, Played, played

TASKS = 4
HOSTILE_LIVES = 2  # workers of the hostile session that misbehave, before one does what it should
STEPS = 400  # ten are enough

Move = tuple[str, Any]  # where to write, and what

small = st.integers(0, 8)
u64 = st.integers(0, 2**64 - 1)
odd = st.sampled_from([math.nan, math.inf, -math.inf, -1.0, 1e30])
times = odd | st.floats(0, 10) | st.floats()
texts = st.one_of(st.text(max_size=5), st.none(), st.integers(), st.just("\ud800"), st.just("x" * 20_000))


COLUMNS = {
    "indexes": small,
    "attempts": st.integers(0, 2),
    "failed": st.sampled_from([1, 255]),
    "started": times,
    "seconds": odd | st.floats(width=32),
    "lengths": st.integers(0, 2**32 - 1),
}


@st.composite
def changes(draw: st.DrawFn) -> tuple[str, Any]:
    """What is wrong with a page of outcomes: a column, its payload or its logs."""
    column = draw(st.sampled_from([*COLUMNS, "data", "logs"]))
    if column == "data":
        return column, draw(st.sampled_from([b"[" * 2000, b'{"errorType":[],"stackTrace":1}', b""]))
    if column == "logs":
        index = st.one_of(small, st.text(max_size=3), st.booleans())
        return column, draw(st.lists(st.tuples(index, texts, texts), max_size=2))
    return column, draw(COLUMNS[column])


def page_of(chunk: ChunkBody, first: int, count: int, change: tuple[str, Any] | None) -> bytes:
    """Outcomes of a chunk's tasks, framed as they should be, and all right but for one thing."""
    page = Outcomes()
    for index in range(chunk.indexes[0] + first, chunk.indexes[0] + first + count):
        page.add(index, False, chunk.attempts[0], time.time(), 0.0, b"-1")
    if change is None or not count:
        return codec.pack(page)
    column, value = change
    if column == "data":
        page.failed[0], page.lengths[0], page.data[0] = 1, len(value), value
    elif column != "logs":
        getattr(page, column)[0] = value
    else:
        extra = json.dumps(value).encode()
        body = bytearray(codec.pack(page)[8:]) + extra
        struct.pack_into("<I", body, 4, len(extra))
        return b"".join(checksummed(codec.MAGIC, [bytes(body)]))
    return codec.pack(page)


json_values = st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=2))
refusals = st.dictionaries(
    st.sampled_from(["errorType", "errorMessage", "stackTrace", "stdout", "stderr"]), json_values, max_size=5
)
messages = st.one_of(
    st.builds(wire.message, st.sampled_from(list(Kind)), st.binary(max_size=20)),
    st.builds(wire.json_message, st.just(Kind.LOAD_FAILED), refusals),
    st.builds(lambda length, kind: wire.HEAD.pack(length, kind), st.integers(0, 2**32 - 1), st.integers(0, 255)),
    st.binary(max_size=40),
)
often = st.just(0)  # what is right but for one thing
nearby, places, counts = often | st.integers(-2, 2), often | small, st.just(1) | st.integers(0, 3)
moves: st.SearchStrategy[list[Move]] = st.lists(
    st.one_of(
        st.tuples(st.just("connection"), messages),
        st.tuples(st.just("outcomes"), st.tuples(nearby, places, counts, st.none() | changes())),
        st.tuples(st.just("running"), st.tuples(nearby, places | u64, st.none() | times)),
        st.tuples(st.just("page"), st.binary(min_size=1, max_size=wire.Gauge.SIZE)),
    ),
    min_size=1,
    max_size=4,
)


def make(worker: Played, move: Move, chunk: ChunkBody) -> None:
    """Write what a hostile handler would, that was given a chunk."""
    match move:
        case "connection", data:
            worker.send(data)
        case "outcomes", (serial, first, count, change):
            worker.send(wire.pack_outcomes(max(0, chunk.serial + serial), page_of(chunk, first, count, change)))
        case "running", (serial, position, started):
            at = time.monotonic() if started is None else started
            worker.memory._write(max(0, chunk.serial + serial), position, at)
        case "page", data:
            worker.memory._memory[: len(data)] = data


class World:
    """A grid in memory with a real agent of two slots, whose workers the test plays."""

    def __init__(self, folder: Path) -> None:
        plane = memory_plane(folder, clock=SystemClock())  # type: ignore[arg-type]  # workers' times are real
        self.grid = still_grid(plane)
        self.workers = Looking(2, None)
        self.agent = Agent(plane, self.workers, AgentIdentity("agent-1"))

    def submit(self, tenant: str, **options: Any) -> Session:
        retry = RetryPolicy(max_attempts=3, backoff_base_seconds=0)
        return self.grid.submit("math.sqrt", range(TASKS), tenant=tenant, retry=retry, bundle_size=TASKS, **options)

    def work(self, sessions: list[Session], lives: list[list[Move]], workers: list[Played]) -> None:
        """Until every session has ended; the ``hostile`` tenant's first workers make these moves."""
        hostile: dict[int, list[Move]] = {}
        for _ in range(STEPS):
            self.agent.step()
            for number, worker in enumerate(workers):
                for chunk in worker.arrived() if worker.is_alive else ():
                    if chunk.session_id.startswith("hostile") and (lives or number in hostile):
                        hostile.setdefault(number, lives.pop() if lives else [])
                        self.misbehave(worker, chunk, hostile[number])
                    else:
                        worker.run(chunk, lambda event: b"%d" % (10 * int(event)))
            if all(session.progress().state in ("COMPLETED", "FAILED") for session in sessions):
                return
        raise AssertionError("it does not end")

    def misbehave(self, worker: Played, chunk: ChunkBody, its_moves: list[Move]) -> None:
        worker.memory.begin(chunk.serial, 0, time.monotonic())
        for move in its_moves:
            make(worker, move, chunk)
            self.agent.step()
            self.workers.running(worker.slot)
        worker.kill()  # as the handler's last deed

    def close(self) -> None:
        self.workers.close()


def of_all(*found: Move) -> list[list[Move]]:
    """The same in each life."""
    return [list(found)] * HOSTILE_LIVES


@example(lives=of_all(("outcomes", (0, 0, 1, ("seconds", math.nan)))), limited=True)
@example(lives=of_all(("outcomes", (0, 0, 1, ("seconds", math.inf)))), limited=True)
@example(lives=of_all(("outcomes", (0, 0, 1, ("failed", 255)))), limited=False)
@example(lives=of_all(("outcomes", (0, 0, 1, ("logs", [(3, "x", None)])))), limited=False)
@example(lives=of_all(("outcomes", (1, 0, 1, None)), ("outcomes", (-1, 0, 1, None))), limited=False)
@example(lives=of_all(("running", (0, 200, None))), limited=False)
@example(lives=of_all(("running", (0, 0, math.inf))), limited=True)
@given(lives=st.lists(moves, min_size=HOSTILE_LIVES, max_size=HOSTILE_LIVES), limited=st.booleans())
def test_no_input_ends_the_agent_or_anothers_task(lives: list[list[Move]], limited: bool) -> None:
    with TemporaryDirectory() as folder, played() as workers:
        world = World(Path(folder))
        try:
            hostile = world.submit("hostile", task_timeout=60.0 if limited else None)
            other = world.submit("other", task_timeout=60.0 if limited else None)
            world.work([hostile, other], list(lives), workers)
            assert list(other.results()) == [10 * n for n in range(TASKS)]
            assert [task.attempts for task in other.tasks()] == [1] * TASKS
            states = Counter(task.state for task in hostile.tasks())
            assert states == Counter(COMPLETED=hostile.progress().completed, FAILED=hostile.progress().failed)
        finally:
            world.close()


# What a worker may say, one by one


def chunk(serial: int, indexes: list[int], attempt: int = 1) -> Chunk:
    function = FunctionRef("key", "s-1", spec())
    return Chunk(serial, function, indexes, [attempt] * len(indexes), [1] * len(indexes), b"1" * len(indexes), {})


def page(*indexes: int, attempt: int = 1) -> Outcomes:
    found = Outcomes()
    for index in indexes:
        found.add(index, False, attempt, time.time(), 0.1, b"1")
    return found


class TestAssignments:
    """Outcomes are taken from the worker that was given their tasks, in their order, each once."""

    @pytest.fixture
    def given(self) -> Assignments:
        given = Assignments()
        given.give(chunk(3, [10, 11, 12]))
        given.give(chunk(5, [7, 9], attempt=2))
        return given

    def test_as_they_come(self, given: Assignments) -> None:
        given.end(3, page(10))
        assert given.next == (3, 1)
        given.end(3, page(11, 12))
        given.end(5, page(7, 9, attempt=2))
        assert given.next is None

    @pytest.mark.parametrize(
        ("serial", "outcomes"),
        [
            (4, page(10)),  # another worker's chunk
            (0, page(10)),
            (2**64 - 1, page(10)),
            (5, page(7, attempt=2)),  # its own, but not yet
            (3, page(11)),  # not the next one
            (3, page(10, 10)),
            (3, page(10, 11, 12, 13)),
            (3, page(10, attempt=2)),
            (3, page(12, 11, 10)),
        ],
    )
    def test_what_is_not_its(self, given: Assignments, serial: int, outcomes: Outcomes) -> None:
        with pytest.raises(CorruptPayload, match="outcomes of"):
            given.end(serial, outcomes)
        assert given.next == (3, 0)

    def test_each_once(self, given: Assignments) -> None:
        given.end(3, page(10, 11, 12))
        for again in (page(10, 11, 12), page(12)):
            with pytest.raises(CorruptPayload):
                given.end(3, again)

    def test_what_was_taken_back_may_be_skipped(self, given: Assignments) -> None:
        given.end(3, page(10))
        assert given.owed == (3, 1)
        assert given.take_back(3, 1) == [(3, 2), (5, 0)]
        assert given.owed == (3, 1)
        with pytest.raises(CorruptPayload):
            given.end(5, page(7, attempt=2))  # it was at task 11 of the first chunk
        given.end(3, page(11))
        given.end(5, page(7, attempt=2))  # it had begun just as it was taken back
        assert given.next == (5, 1)
        assert given.owed is None

    def test_what_runs(self, given: Assignments) -> None:
        assert given.is_at(3, 2)
        assert given.is_at(5, 0)
        assert not given.is_at(2, 0), "it is over"
        for serial, position in [(3, 3), (5, 2), (6, 0), (3, 2**64 - 2), (2**64 - 1, 0)]:
            with pytest.raises(CorruptPayload):
                given.is_at(serial, position)


def changed(**columns: Any) -> Outcomes:
    found = page(1)
    for name, value in columns.items():
        if name in ("logs", "size"):
            setattr(found, name, value)
        else:
            getattr(found, name)[0] = value
    return found


IMPOSSIBLE = {
    "neither failed nor not": changed(failed=2),
    "begun at no time": changed(started=float("nan")),
    "begun before time": changed(started=-1.0),
    "begun never": changed(started=float("inf")),
    "begun after all calendars": changed(started=CALENDAR_SECONDS * 2),
    "no duration": changed(seconds=float("nan")),
    "endless": changed(seconds=float("inf")),
    "over before it began": changed(seconds=-1.0),
    "longer than its worker lives": changed(seconds=1000.0),
    "another task's output": changed(logs={2: ("x", "")}),
    "output of no task": changed(logs={"1": ("x", "")}),
    "output that is no text": changed(logs={1: ("x", 1)}),
    "too much output": changed(logs={1: ("x" * (PRINTED_CHARACTERS + 1), "")}),
    "output that cannot be written": changed(logs={1: ("\ud800", "")}),
}


@pytest.mark.parametrize("outcomes", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_impossible_outcomes(outcomes: Outcomes) -> None:
    with pytest.raises((CorruptPayload, TypeError)):
        outcomes_in(wire.pack_outcomes(1, codec.pack(outcomes))[wire.HEAD.size :], 100.0)


@pytest.mark.parametrize(("failed", "size"), [(False, limits.MAX_RESULT_BYTES), (True, ERROR_BYTES)])
def test_the_largest_outcome(failed: bool, size: int) -> None:
    for length, is_taken in ((size, True), (size + 1, False)):
        found = Outcomes()
        found.add(1, failed, 1, 1.0, 1.0, bytes(length))
        body = wire.pack_outcomes(7, codec.pack(found))[wire.HEAD.size :]
        if is_taken:
            assert outcomes_in(body, 100.0)[0] == 7
        else:
            with pytest.raises(CorruptPayload):
                outcomes_in(body, 100.0)


class TestGauge:
    """The page that a worker shares with its agent says which of its tasks it runs since when, and nothing else."""

    @pytest.fixture
    def worker(self) -> Iterator[Played]:
        with played():
            worker = Played.start(0, FunctionRef("key", "s-1", spec()))
            worker.give(chunk(3, [10, 11, 12]))
            yield worker
            worker.reap()
            worker.close()

    def test_what_it_runs(self, worker: Played) -> None:
        now = time.monotonic()
        worker.memory.begin(3, 1, now)
        assert worker.running() == (3, 1, now)

    def test_a_task_begins_once(self, worker: Played) -> None:
        """Or it would never be over its time."""
        began = time.monotonic()
        worker.memory.begin(3, 1, began)
        assert worker.running() == (3, 1, began)
        worker.memory.begin(3, 1, time.monotonic())
        assert worker.running() == (3, 1, began)

    @pytest.mark.parametrize("started", [float("inf"), float("-inf"), -1.0, 0.0, 1e300])
    def test_impossible_times(self, worker: Played, started: float) -> None:
        worker.memory.begin(3, 1, started)
        assert self.is_charged(worker)

    @pytest.mark.parametrize(("serial", "position"), [(3, 3), (4, 0), (2**64 - 1, 0), (3, 2**64 - 2)])
    def test_tasks_that_it_was_not_given(self, worker: Played, serial: int, position: int) -> None:
        worker.memory.begin(serial, position, time.monotonic())
        assert self.is_charged(worker)

    def test_going_back(self, worker: Played) -> None:
        worker.memory.begin(3, 1, time.monotonic())
        assert worker.running()
        worker.memory.begin(3, 0, time.monotonic())
        assert self.is_charged(worker)

    def test_no_number(self, worker: Played) -> None:
        """Its digest may be another each time, so that the page is as if torn."""
        worker.memory.begin(3, 1, float("nan"))
        assert worker.running() is None or self.is_charged(worker)

    @staticmethod
    def is_charged(worker: Process) -> bool:
        """The task that was to come next is, and the worker is killed."""
        running = worker.running()
        assert running is not None
        assert worker.killed is not None
        assert worker.violation == "gauge"
        return running[:2] == (3, 0)

    def test_nobody_can_take_the_page_away(self, worker: Played) -> None:
        fd = wire.gauge_memory()
        for size in (0, 1 << 20):
            with pytest.raises(PermissionError):
                os.ftruncate(fd, size)


class Counted(NoMetrics):
    """What was counted."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()

    def add(self, metric: Metric, amount: float = 1.0, **labels: str) -> None:
        self.found[f"{metric.name} {labels}"] += 1


@pytest.mark.parametrize(
    ("move", "what"),
    [
        (("connection", wire.message(Kind.CHUNK)), "message"),
        (("outcomes", (1, 0, 1, None)), "outcomes"),
        (("running", (8, 1, None)), "gauge"),
    ],
)
def test_violations_are_counted(move: Move, what: str) -> None:
    count = Counted()
    with played() as workers:
        pool = Looking(1, None, count)
        pool.run(0, chunk(1, [0]))
        (worker,) = workers
        make(worker, move, next(iter(worker.arrived())))
        events = pool.wait(0)
        pool.running(0)
        events += pool.wait(0) + pool.wait(0)
        pool.close()
    assert count.found[f"htcgrid_worker_violations_total {{'what': '{what}'}}"] == 1
    assert [event.running for event in events if isinstance(event, WorkerLost)] == [(1, 0)]
