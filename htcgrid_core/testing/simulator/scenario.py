"""One run: sessions, agents, a reconciler and faults drawn from a seed, and what must come of them."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar
from unittest.mock import patch

from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.adapters.local.sqlite.outbox import SqliteOutbox
from htcgrid_core.adapters.local.sqlite.store import SqliteStore
from htcgrid_core.agent.loop.agent import Agent
from htcgrid_core.agent.loop.calls import InlineCalls
from htcgrid_core.agent.settings import AgentIdentity
from htcgrid_core.codecs.events import encoded
from htcgrid_core.codecs.values import decode_json
from htcgrid_core.domain import limits
from htcgrid_core.domain.destination import Destination
from htcgrid_core.domain.errors import GridError, GridUnavailable
from htcgrid_core.domain.notification import STEP_FUNCTIONS, Recipient
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.doorbell import WORK
from htcgrid_core.ports.keyring import Keyring
from htcgrid_core.ports.plane import Plane, one_by_one
from htcgrid_core.services.cancel import cancel
from htcgrid_core.services.recipients import submit_with
from htcgrid_core.services.reconcile import reconcile
from htcgrid_core.services.submit import submit
from htcgrid_core.services.telling import attempt, tell_all, tell_session
from htcgrid_core.testing.simulated_workers import Pretence, SimulatedWorkers
from htcgrid_core.testing.simulator.aftermath import all_ended, check_end, check_replay
from htcgrid_core.testing.simulator.calls import SimulatedCalls
from htcgrid_core.testing.simulator.faults import FaultRates, FaultyPort
from htcgrid_core.testing.simulator.invariants import Invariants, Violated
from htcgrid_core.testing.simulator.outside import MARK, QUEUE, FaultyMessenger, Outside
from htcgrid_core.testing.simulator.planes import MemoryBlobs, SimulatedDoorbell, SimulatedQueue
from htcgrid_core.testing.simulator.wishes import LARGE, MOST_TRIES, Wish, pretence_of, wish_of
from htcgrid_core.testing.simulator.world import Crash, VirtualClock, World

T = TypeVar("T")

FAULTY_SECONDS = 120.0
CALM_SECONDS = 3600.0
TICK_SECONDS = 10.0
HOME = "default"
# What runs out of memory at home is moved; there it has the attempts of its session. Others are charged with no more.
MOST_ATTEMPTS = {
    (True, HOME): 1 + limits.CRASH_LIMIT,
    (True, LARGE): MOST_TRIES + 1 + limits.CRASH_LIMIT,
    (False, HOME): MOST_TRIES + limits.CRASH_LIMIT,
}
CLIENT_CRASHES = 10  # a submit makes few calls: each is this much likelier to be a client's last


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
        self.invariants = Invariants(self.database, self.blobs, self.queue.ever_sent)
        self.world.after_step = self.invariants.check
        self.wishes = [wish_of(rng, number) for number in range(rng.randint(1, 3))]
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
                self.world.spawn(f"agent-{number}", partial(self._agent, number, slots, HOME))
            if any(wish.spec.retry.on_out_of_memory for wish in self.wishes):
                self.world.spawn("agent-9", partial(self._agent, 9, self.rng.randint(1, 4), LARGE))
            self.world.spawn("reconciler", self._reconciler)
            self.world.spawn("operator", self._operator)
            start = self.world.now
            self.world.run(start + FAULTY_SECONDS)
            self.rates.calm()
            self.world.run(start + FAULTY_SECONDS + CALM_SECONDS, partial(all_ended, self))
            check_end(self)
            check_replay(self)
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

    def _pretend(self, pool: str, event: bytes, index: int, attempt: int) -> Pretence:
        task = decode_json(event)
        key = (task["session"], index)
        self.executions[key] = self.executions.get(key, 0) + 1
        if pool == LARGE and task["kind"] not in ("hungry", "starving"):
            raise Violated(f"moves: task {index} of {task['session']} was not moved, and runs in pool {pool}")
        if attempt > MOST_ATTEMPTS[task["kind"] in ("hungry", "starving"), pool]:
            raise Violated(f"moves: task {index} of {task['session']} runs for the {attempt}th time, in pool {pool}")
        return pretence_of(task, index, attempt, pool)

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
            together=self._together,
        )

    def _together(self, first: Callable[[], T], second: Callable[[], object]) -> T:
        """Two calls that are made at the same time, in an order that nobody knows."""
        if self.world.rng.random() < 0.5:
            return one_by_one(first, second)
        second()
        return first()

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

    def _agent(self, number: int, slots: int, pool: str) -> None:
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
                workers = SimulatedWorkers(slots, plane.clock, self.world.wait, partial(self._pretend, pool))
                who = AgentIdentity(f"{name}.{life}", pool)
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
