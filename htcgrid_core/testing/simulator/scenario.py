"""One run: sessions, agents, a reconciler and faults drawn from a seed, and what must come of them."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from unittest.mock import patch

from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.adapters.local.sqlite.outbox import SqliteOutbox
from htcgrid_core.adapters.local.sqlite.store import SqliteStore
from htcgrid_core.agent.loop.agent import Agent
from htcgrid_core.agent.loop.calls import InlineCalls
from htcgrid_core.agent.settings import AgentIdentity
from htcgrid_core.codecs.events import encoded
from htcgrid_core.codecs.outcomes import encode_error
from htcgrid_core.codecs.values import decode_json, encode_json
from htcgrid_core.domain import limits
from htcgrid_core.domain.destination import Destination
from htcgrid_core.domain.errors import GridError, GridUnavailable
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.notification import STEP_FUNCTIONS, Recipient
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.domain.retry import RetryPolicy
from htcgrid_core.domain.session import SessionRecord, SessionSpec
from htcgrid_core.ports.doorbell import WORK
from htcgrid_core.ports.keyring import Keyring
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.cancel import cancel
from htcgrid_core.services.recipients import submit_with
from htcgrid_core.services.reconcile import reconcile
from htcgrid_core.services.results import in_index_order
from htcgrid_core.services.submit import submit
from htcgrid_core.services.telling import attempt, tell_all, tell_session
from htcgrid_core.testing.simulated_workers import Pretence, SimulatedWorkers
from htcgrid_core.testing.simulator.calls import SimulatedCalls
from htcgrid_core.testing.simulator.faults import FaultRates, FaultyPort
from htcgrid_core.testing.simulator.invariants import Invariants, Violated, error_type
from htcgrid_core.testing.simulator.outside import MARK, QUEUE, FaultyMessenger, Outside
from htcgrid_core.testing.simulator.planes import MemoryBlobs, SimulatedDoorbell, SimulatedQueue
from htcgrid_core.testing.simulator.world import Crash, VirtualClock, World

FAULTY_SECONDS = 120.0
CALM_SECONDS = 3600.0
TICK_SECONDS = 10.0
CLIENT_CRASHES = 10  # a submit makes few calls: each is this much likelier to be a client's last
KINDS = ("ok", "ok", "ok", "ok", "ok", "ok", "flaky", "fails", "kills worker", "kills agent")


@dataclass
class Wish:
    """A session that a submitter wants.

    Attributes:
        events: kind and duration of each task.
        is_cut_short: whether it may end without running all of them (cancelled, threshold, deadline, nobody waits).
        stops_after: seconds after which the execution that waits for it is stopped.
        token: of the task that waits for it now; empty if none does.
    """

    session_id: str
    spec: SessionSpec
    events: list[dict[str, Any]]
    cancelled_after: float | None
    is_cut_short: bool
    persistent: bool
    acknowledged: bool = False
    notifies: bool = False
    stops_after: float = float("inf")
    token: str = ""


@dataclass
class Run:
    """One simulated grid.

    Args:
        seed: decides everything.
        make_store: the session store over the run's database; mutants pass a broken one.
        make_reconcile: what the reconciler does every tick.
        make_tell: how it then tells of sessions' ends.
    """

    seed: int
    make_store: Callable[[Database], SqliteStore] = SqliteStore
    make_reconcile: Callable[[Plane, float], object] = reconcile
    make_blobs: Callable[[], MemoryBlobs] = MemoryBlobs
    make_tell: Callable[[Plane], object] = tell_all
    make_outbox: Callable[[Database], SqliteOutbox] = SqliteOutbox
    world: World = field(init=False)
    executions: dict[tuple[str, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.world = World(self.seed)
        rng = self.rng = random.Random(self.seed ^ 0x5EED)
        scale = rng.choice([0.2, 1.0, 3.0, 6.0])
        rates = FaultRates()
        self.rates = FaultRates(
            crash=rates.crash * scale,
            refused=rates.refused * scale,
            reply_lost=rates.reply_lost * scale,
            pause=rates.pause * scale,
            message_lost=rates.message_lost * scale,
            message_doubled=rates.message_doubled * scale,
            ring_lost=rates.ring_lost * scale,
            skew_seconds=rng.choice([0.0, 0.0, 0.0, 600.0]),
        )
        self.database = Database(":memory:")
        self.store = self.make_store(self.database)
        self.outbox = self.make_outbox(self.database)
        self.outside = Outside(self.world, self.database)
        self.outbox.put_destination(
            Destination(name=QUEUE, target="arn:aws:sqs:eu-west-1:123456789012:ends", progress=(MARK,))
        )
        self.blobs = self.make_blobs()
        self.queue = SimulatedQueue(self.world, self.rates)
        self.doorbell = SimulatedDoorbell(self.world, self.rates)
        self.invariants = Invariants(self.database, self.blobs)
        self.world.after_step = self.invariants.check
        self.wishes = [self._wish(number) for number in range(rng.randint(1, 3))]
        self.agents: dict[str, Agent] = {}
        self.threaded = self.seed % 2 == 1  # whether agents make their calls beside their loops, as on AWS

    def simulate(self) -> list[str]:
        """Run to the end and check it; return the history.

        Raises:
            Violated: a promise was broken.
        """
        with self._small_limits():
            for wish in self.wishes:
                name = f"client-{wish.session_id}"
                self.world.spawn(name, partial(self._submit, wish, name), self.rng.uniform(0, 30))
            for number in range(self.rng.randint(2, 4)):
                slots = self.rng.randint(1, 4)
                self.world.spawn(f"agent-{number}", partial(self._agent, number, slots))
            self.world.spawn("reconciler", self._reconciler)
            self.world.spawn("operator", self._operator)
            start = self.world.now
            self.world.run(start + FAULTY_SECONDS)
            self.rates.calm()
            self.world.run(start + FAULTY_SECONDS + CALM_SECONDS, self._all_ended)
            self._check_end()
            self._check_replay()
            self.invariants.check_pages_unchanged()
            self.world.close()
        return self.world.history

    @contextlib.contextmanager
    def _small_limits(self) -> Iterator[None]:
        """So that few tasks reach the paths of many: blobs, and sessions written in several steps."""
        with (
            patch.object(limits, "INLINE_PAYLOAD_BYTES", self.rng.choice([40, 1 << 20])),
            patch.object(limits, "SUBMIT_BUFFER_BYTES", self.rng.choice([200, 1 << 20])),
        ):
            yield

    # What is wished for

    def _wish(self, number: int) -> Wish:
        rng = self.rng
        kinds = KINDS if rng.random() < 0.7 else ("ok",)
        events = [
            {"i": index, "kind": rng.choice(kinds), "seconds": round(rng.choice([0.01, 0.5, 3.0]) * rng.random(), 4)}
            for index in range(rng.choice([0, 1, 5, 20, 40]))
        ]
        max_failures = rng.choice([None, None, 0, 3, 0.2])
        timeout = rng.choice([None, None, None, 60.0])
        cancelled_after = rng.uniform(0, 60) if rng.random() < 0.3 else None
        spec = SessionSpec(
            function=FunctionSpec(name="simulated.handler"),
            retry=RetryPolicy(max_attempts=rng.randint(1, 3), backoff_base_seconds=0.5, backoff_cap_seconds=5.0),
            max_failures=max_failures,
            timeout_seconds=timeout,
            bundle_size=rng.choice([None, 1, 3, 8]),
        )
        cut_short = max_failures is not None or timeout is not None or cancelled_after is not None
        wish = Wish(f"sim-{number:04d}", spec, events, cancelled_after, cut_short, rng.random() < 0.8)
        if rng.random() < 0.5:
            wish.notifies = True
            wish.stops_after = rng.uniform(0, 60) if rng.random() < 0.2 else float("inf")
            wish.is_cut_short |= wish.stops_after < float("inf")
        return wish

    def _pretend(self, event: bytes, index: int, attempt: int) -> Pretence:
        task = decode_json(event)
        key = (task["session"], index)
        self.executions[key] = self.executions.get(key, 0) + 1
        error = encode_error(TaskError("Wanted", f"task {index}"))
        match task["kind"]:
            case "flaky":
                return Pretence(task["seconds"], _expected(task) if attempt >= 2 else error, attempt < 2)
            case "fails":
                return Pretence(task["seconds"], error, failed=True)
            case "kills worker":
                return Pretence(task["seconds"], kills=True)
            case "kills agent":
                raise Crash
        return Pretence(task["seconds"], _expected(task))

    # Actors

    def _plane(self, who: str, rates: FaultRates | None = None) -> Plane:
        world = self.world
        rates = rates or self.rates
        skew = self.rng.uniform(-rates.skew_seconds, rates.skew_seconds)

        def faulty(name: str, port: object) -> Any:
            return FaultyPort(world, rates, name, port, who)

        return Plane(
            store=faulty("store", self.store),
            queue=faulty("queue", self.queue),
            blobs=faulty("blobs", self.blobs),
            clock=VirtualClock(world, skew),
            doorbell=self.doorbell,
            keys=Keyring.of(b"simulated"),
            time_slice_seconds=limits.TIME_SLICE_SECONDS,
            rng=random.Random(world.rng.getrandbits(64)),
            token=lambda: f"{world.rng.getrandbits(64):016x}",
            outbox=faulty("outbox", self.outbox),
            messenger=FaultyMessenger(faulty("messenger", self.outside)),
        )

    def _submit(self, wish: Wish, name: str) -> None:
        """Submit, again after each crash with the same token, or give up after the first."""
        events = [{**event, "session": wish.session_id} for event in wish.events]
        rates = replace(self.rates, crash=self.rates.crash * CLIENT_CRASHES)
        while not wish.acknowledged:
            try:
                sent = encoded(wish.spec.codec, events)
                plane, recipients = self._plane(name, rates), self._recipients(wish)
                spec = wish.spec.model_copy(update={"notify": tuple(one.to for one in recipients)})
                submit_it = partial(submit, plane, wish.session_id, spec, sent, total=None, idempotent=True)
                submit_with(plane, wish.session_id, recipients, submit_it)
                wish.acknowledged = True
                self.world.note(name, "acknowledged")
            except Crash:
                self.world.note(name, "crashed")
                if not wish.persistent:
                    return
                rates = replace(rates, crash=rates.crash / 2 if self.rates.crash else 0.0)
                self.world.pause(self.world.rng.uniform(0, 20))
            except GridUnavailable:
                self.world.pause(self.world.rng.uniform(0, 5))
            except GridError as error:  # cancelled while it was submitted, or aborted by the reconciler
                self.world.note(name, f"not submitted: {error}")
                return
            if wish.cancelled_after is not None and wish.acknowledged:
                self._cancel(wish, name)

    def _recipients(self, wish: Wish) -> list[Recipient]:
        """Of one try of a submission: the state machine tries it anew with a new token, or with the one it had."""
        if not wish.notifies:
            return []
        if not wish.token or self.world.rng.random() < 0.5:
            wish.is_cut_short |= bool(wish.token)  # the task before does not wait any more, which may be heard first
            wish.token = self.outside.new_task(wish.session_id, self.world.now + wish.stops_after)
        return [Recipient(QUEUE), Recipient(STEP_FUNCTIONS, wish.token, 10.0)]

    def _cancel(self, wish: Wish, name: str) -> None:
        assert wish.cancelled_after is not None
        self.world.pause(wish.cancelled_after)
        while True:
            try:
                cancel(self._plane(name), wish.session_id, actor=name)
                return
            except (Crash, GridUnavailable):
                self.world.pause(1.0)

    def _agent(self, number: int, slots: int) -> None:
        """An agent's process, started again whenever it ends."""
        life = 0
        name = f"agent-{number}"
        while True:
            life += 1
            simulated = SimulatedCalls(self.world)
            calls = simulated if self.threaded else InlineCalls()
            try:
                plane = self._plane(name)
                bell = self.doorbell.listen(WORK)
                workers = SimulatedWorkers(slots, plane.clock, self.world.wait, self._pretend)
                who = AgentIdentity(f"{name}.{life}")
                on_end = partial(self._tell_at_once, name)
                self.agents[name] = agent = Agent(plane, workers, who, calls=calls, on_end=on_end)
                agent.run()
                self.world.note(name, "drained")
            except Crash:
                self.world.note(name, "crashed")
            finally:
                simulated.end()
                bell.close()
            self.world.pause(self.world.rng.uniform(0.5, 20))

    def _tell_at_once(self, agent: str, record: SessionRecord) -> None:
        if record.notifies:
            plane = self._plane(agent)
            self.world.spawn(f"{agent}/tell", partial(attempt, partial(tell_session, plane, record)))

    def _operator(self) -> None:
        """Tells agents to drain now and then."""
        while True:
            self.world.pause(self.world.rng.uniform(20, 200))
            if self.rates.latency_seconds and self.agents:
                name = self.world.rng.choice(sorted(self.agents))
                self.world.note("operator", f"drains {name}")
                self.agents[name].drain()

    def _reconciler(self) -> None:
        while True:
            try:
                plane = self._plane("reconciler")
                self.make_reconcile(plane, TICK_SECONDS)
                self.make_tell(plane)
            except (Crash, GridUnavailable) as error:
                self.world.note("reconciler", type(error).__name__)
            self.world.pause(TICK_SECONDS)

    # What must come of it

    def _rows(self) -> dict[str, SessionState]:
        return dict(self.database.connection().execute("SELECT id, state FROM sessions").fetchall())

    def _all_ended(self) -> bool:
        ended = ("COMPLETED", "FAILED", "CANCELLED")
        rows = self._rows()
        waited_for = [wish for wish in self.wishes if wish.persistent and not wish.acknowledged]
        pending = [wish for wish in waited_for if rows.get(wish.session_id) not in ended]
        if any(due.session_id in rows for due in self.outbox.pending()):
            return False
        return not pending and bool(rows) and all(state in ended for state in rows.values())

    def _check_end(self) -> None:
        rows = self._rows()
        for wish in self.wishes:
            state = rows.get(wish.session_id)
            if wish.acknowledged and state not in ("COMPLETED", "FAILED", "CANCELLED"):
                raise Violated(f"S1: {wish.session_id} was acknowledged and is {state} an hour after the last fault")
            if state == "SUBMITTED":
                raise Violated(f"S1: {wish.session_id} was given up by its submitter and by nobody else")
            if wish.acknowledged:
                self._check_tasks(wish)
            if wish.acknowledged and wish.notifies:
                self.outside.check_end(wish.session_id, wish.token, self.database.connection())

    def _check_tasks(self, wish: Wish) -> None:
        plane = self._quiet_plane()
        record = self.store.session(wish.session_id, 0.0)
        if record.counters.total != len(wish.events):
            raise Violated(f"S1: {wish.session_id} has {record.counters.total} tasks, not {len(wish.events)}")
        found = list(in_index_order(plane, record, wish.spec))
        if [index for index, _ in found] != list(range(len(wish.events))):
            raise Violated(f"S1: {wish.session_id} does not list each of its tasks once")
        for index, outcome in found:
            event = wish.events[index]
            if outcome is None:
                if not wish.is_cut_short:
                    raise Violated(f"S1: task {index} of {wish.session_id} was lost")
            elif outcome.failed:
                if event["kind"] in ("ok", "flaky") and error_type(outcome) not in ("AgentLost", "Wanted"):
                    raise Violated(f"task {index} of {wish.session_id} failed: {error_type(outcome)}")
            elif outcome.payload != _expected({**event, "session": wish.session_id}):
                raise Violated(f"S9: task {index} of {wish.session_id} has another's result")
            elif not self.executions.get((wish.session_id, index)):
                raise Violated(f"S2: task {index} of {wish.session_id} has a result and never ran")

    def _quiet_plane(self) -> Plane:
        clock = VirtualClock(self.world)
        return Plane(self.store, self.queue, self.blobs, clock, self.doorbell, Keyring.of(b"simulated"), 2.0)

    def _check_replay(self) -> None:
        """S8: every message ever sent, once more."""
        before = self._settled()
        for pool, hint in list(self.queue.ever_sent):
            self.queue.send(pool, [hint])
        self.world.run(self.world.now + 120.0)
        after = self._settled()
        for session_id, row in before.items():
            if after.get(session_id) != row:
                raise Violated(f"S8: replayed messages made {after.get(session_id)} of {row}")

    def _settled(self) -> dict[str, tuple[Any, ...]]:
        """Ended sessions with their counters and the number of their pages."""
        rows = self.database.connection().execute(
            "SELECT id, state, total, completed, failed, cancelled,"
            " (SELECT count(*) FROM outcomes WHERE session_id = id) FROM sessions WHERE live = 0 AND bundles >= 0"
        )
        return {row[0]: row for row in rows}


def _expected(task: dict[str, Any]) -> bytes:
    return encode_json({"square": task["i"] ** 2, "of": task["session"]})


def simulate(seed: int) -> list[str]:
    """Run one seed; return its history.

    Raises:
        Violated: with the seed and the end of the history as notes.
    """
    run = Run(seed)
    try:
        return run.simulate()
    except Exception as error:
        error.add_note(f"seed {seed}; the last steps:\n" + "\n".join(run.world.history[-40:]))
        raise
