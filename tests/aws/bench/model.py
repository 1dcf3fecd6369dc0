"""DynamoDB, SQS and S3 in virtual time: their latencies, what they throttle, and what is asked of each key.

Under it is SQLite in memory, so that the truth is kept as ever. What each call costs is what ``adapters/aws`` makes of
it (docs/adr/0012): the items it reads and writes, by the keys of their partitions, and the transaction of a commit.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from htcgrid_core.adapters.aws.dynamodb.agents import FEW_IN_FIRST, PARTS, part_of
from htcgrid_core.adapters.aws.dynamodb.capacity import WRITE_UNIT_BYTES, read_units
from htcgrid_core.adapters.aws.dynamodb.held_leases import HeldLeases
from htcgrid_core.adapters.aws.dynamodb.keys import GROUP_ROOTS
from htcgrid_core.adapters.aws.dynamodb.lanes import lanes_of
from htcgrid_core.adapters.aws.dynamodb.retries import TRIES, longest_pause
from htcgrid_core.adapters.aws.dynamodb.table import BATCH_WRITE
from htcgrid_core.adapters.aws.sqs.batches import BATCH
from htcgrid_core.adapters.aws.sqs.batches import THREADS as QUEUE_THREADS
from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.adapters.local.sqlite.store import SqliteStore
from htcgrid_core.codecs.buffers import Data
from htcgrid_core.domain.bundle import Block, Bundle, root_of
from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.domain.lease import Lease
from htcgrid_core.domain.pool import PoolSize
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.domain.usage import FunctionUsage
from htcgrid_core.ports.bundle_queue import Hint, Message, Received
from htcgrid_core.ports.session_store import SUBMITTER, AgentRecord, Claimed, Commit, Refused, Renewal, Renewed
from htcgrid_core.testing.simulator.efficiency import LongPolledQueue
from htcgrid_core.testing.simulator.faults import FaultRates
from htcgrid_core.testing.simulator.planes import MemoryBlobs
from htcgrid_core.testing.simulator.world import World

DYNAMODB_SECONDS, TRANSACTION_SECONDS, SQS_SECONDS, S3_SECONDS = 0.006, 0.010, 0.012, 0.025
JITTER = 0.3  # of a lognormal
WRITES_A_SECOND, READS_A_SECOND = 1000, 3000  # units, of one key
IN_FLIGHT = 120_000  # messages of one queue
ITEM_BYTES = 260  # of a bundle's item but for its outcomes
AGENT_BYTES = 150  # of an agent's item
AGENTS = "AGENTS"


@dataclass
class Demand:
    """Units asked of each key, by the second, and what was refused.

    Attributes:
        throttled: calls that met a key without units left.
        conflicts: transactions that met another on the same item.
        failed: calls that were refused as often as the adapter tries.
    """

    writes: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    reads: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    calls: int = 0
    throttled: int = 0
    conflicts: int = 0
    failed: int = 0

    def hottest(self, of: Mapping[str, Counter[int]]) -> tuple[str, int]:
        """The key with the most units in any one second, and how many."""
        return max(((key, max(seconds.values())) for key, seconds in of.items()), key=lambda pair: pair[1])


class Dynamo:
    """One table's latencies and limits."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._busy_until: dict[str, float] = {}  # items in a transaction
        self.demand = Demand()

    def call(
        self, seconds: float, writes: Mapping[str, int], reads: Mapping[str, float] = {}, item: str | None = None
    ) -> None:
        """One call: wait for it, and again where it is refused, as the adapter does.

        Args:
            writes, reads: units by key.
            item: that a transaction changes and others may, too.

        Raises:
            GridUnavailable: refused too often.
        """
        world, demand = self._world, self.demand
        for attempt in range(TRIES):
            demand.calls += 1
            took = seconds * world.rng.lognormvariate(0.0, JITTER)
            if item is not None and self._busy_until.get(item, 0.0) > world.now:
                demand.conflicts += 1
            elif self._has_room(writes, reads):
                if item is not None:
                    self._busy_until[item] = world.now + took
                world.pause(took)
                return
            else:
                demand.throttled += 1
            world.pause(took + world.rng.uniform(0.0, longest_pause(attempt)))
        demand.failed += 1
        raise GridUnavailable(f"refused {TRIES} times")

    def _has_room(self, writes: Mapping[str, int], reads: Mapping[str, float]) -> bool:
        second, demand = int(self._world.now), self.demand
        asked = ((writes, demand.writes, WRITES_A_SECOND), (reads, demand.reads, READS_A_SECOND))
        if any(used[key][second] + units > most for units_of, used, most in asked for key, units in units_of.items()):
            return False
        for units_of, used, _ in asked:
            for key, units in units_of.items():
                used[key][second] += math.ceil(units)
        return True


class ModelledStore(SqliteStore):
    """Answers as late as DynamoDB would, and refuses what it would."""

    def __init__(self, world: World, database: Database) -> None:
        super().__init__(database)
        self._world = world
        self._last_read: tuple[float, list[AgentRecord]] = (float("-inf"), [])
        self._lanes: dict[str, int] = {}
        self._held_leases: dict[str, HeldLeases] = {}  # of each agent
        self._owners: dict[str, str] = {}  # of leases, by their tokens
        self._fleets: dict[str, int] = {}  # as agents know them
        self._informed: set[tuple[str, str]] = set()  # agents that know a session's counters
        self.dynamo = Dynamo(world)

    def create_session(self, record: SessionRecord, *, actor: str = SUBMITTER) -> SessionRecord:
        """A write of the row."""
        self._lanes[record.session_id] = lanes_of(record.spec)
        self.dynamo.call(DYNAMODB_SECONDS, {record.session_id: 1})
        return super().create_session(record, actor=actor)

    def put_bundles(self, session_id: str, bundles: Sequence[tuple[Bundle, Block]], now: float) -> None:
        """A write of the row, of the roots, 25 in a call, and of the row again."""
        self.dynamo.call(DYNAMODB_SECONDS, {session_id: 2})
        for at in range(0, len(bundles), BATCH_WRITE):
            some = [self._lane(session_id, bundle.bundle_id) for bundle, _ in bundles[at : at + BATCH_WRITE]]
            self.dynamo.call(DYNAMODB_SECONDS, Counter(some))
        self.dynamo.call(DYNAMODB_SECONDS, {session_id: 2})
        super().put_bundles(session_id, bundles, now)

    def claim(self, session_id: str, bundle_id: str, **wish: Any) -> Claimed | Refused:
        """A read of row, block and bundle, an agent's first one also of all lanes, and a write of the bundle."""
        lane, known = self._lane(session_id, bundle_id), (wish["owner"], session_id)
        lanes = {} if known in self._informed else self._all_lanes(session_id)
        self._informed.add(known)
        self.dynamo.call(DYNAMODB_SECONDS, {}, {session_id: 1, **lanes, lane: lanes.get(lane, 0) + 2})
        answer = super().claim(session_id, bundle_id, **wish)
        self.dynamo.call(DYNAMODB_SECONDS, {lane: 1})
        if isinstance(answer, Claimed):
            self._leased(session_id, bundle_id, answer.lease)
        return answer

    def _leased(self, session_id: str, bundle_id: str, lease: Lease) -> None:
        held_leases = self._held_leases.setdefault(lease.owner, HeldLeases(lambda: self._world.now))
        held_leases.leased(session_id, bundle_id, lease.until, self._world.now)
        self._owners[lease.token] = lease.owner

    def renew(self, renewals: Sequence[Renewal]) -> list[Renewed]:
        """A read of the rows, and a write of each bundle."""
        ids = {renewal.session_id for renewal in renewals}
        self.dynamo.call(DYNAMODB_SECONDS, {}, dict.fromkeys(ids, 1))
        for renewal in renewals:
            self.dynamo.call(DYNAMODB_SECONDS, {self._lane(renewal.session_id, renewal.bundle_id): 1})
        return super().renew(renewals)

    def commit(self, commit: Commit) -> SessionRecord:
        """A transaction of bundle, counters and children; a read of the row and of all lanes, where there is need.

        An agent makes one transaction of all commits that it has at the same time; that is left out here.
        """
        lane, owner = self._lane(commit.session_id, commit.bundle_id), self._owners.get(commit.token)
        if owner is None:  # it was written, its reply was lost, and it is found by its token
            self.dynamo.call(TRANSACTION_SECONDS, {lane: 2})
            return super().commit(commit)
        data = commit.outcomes.data if commit.outcomes is not None else None
        units = _write_units(ITEM_BYTES + len(data or b""))
        units += sum(_write_units(ITEM_BYTES + 2 * len(child.bundle.indexes)) for child in commit.children)
        counters = _key(commit.session_id, zlib.crc32(owner.encode()) % self._lanes.get(commit.session_id, 1))
        writes = Counter({lane: 2 * units})
        writes[counters] += 2
        self.dynamo.call(TRANSACTION_SECONDS, writes, item=counters)
        record = super().commit(commit)
        del self._owners[commit.token]
        held_leases = self._held_leases[owner]
        for child in commit.children:
            if child.lease is not None:
                self._leased(commit.session_id, child.bundle.bundle_id, child.lease)
        if held_leases.committed(commit.session_id, self._lanes.get(commit.session_id, 1), [commit]):
            self.dynamo.call(DYNAMODB_SECONDS, {}, {commit.session_id: 1, **self._all_lanes(commit.session_id)})
            held_leases.counters_read(commit.session_id)
        return record

    def _all_lanes(self, session_id: str) -> dict[str, int]:
        return {_key(session_id, number): 1 for number in range(self._lanes.get(session_id, 1))}

    def _lane(self, session_id: str, bundle_id: str) -> str:
        return _key(session_id, root_of(bundle_id) // GROUP_ROOTS % self._lanes.get(session_id, 1))

    def beat(self, agent: AgentRecord, *, size: PoolSize | None = None, usage: Sequence[FunctionUsage] = ()) -> None:
        """One write, of a key that agents share."""
        part = part_of(agent.agent_id, self._fleets.get(self._world.current.name, 0))
        self.dynamo.call(DYNAMODB_SECONDS, {f"{AGENTS}{part}": 1})
        super().beat(agent, size=size, usage=usage)

    def agents(self, now: float) -> list[AgentRecord]:
        """One read of all agents; what it finds is at most a second old, since reading it is slow here."""
        if self._world.now - self._last_read[0] >= 1.0:
            self._last_read = (self._world.now, super().agents(now))
        found = self._last_read[1]
        parts = PARTS if len(found) > PARTS * FEW_IN_FIRST else 1
        for part in range(parts):
            units = read_units(AGENT_BYTES * len(found) // parts, consistent=False)
            self.dynamo.call(DYNAMODB_SECONDS, {}, {f"{AGENTS}{part}": units})
        self._fleets[self._world.current.name] = len(found)
        return found


class ModelledQueue(LongPolledQueue):
    """A message is there after it was sent and received; what is received and not deleted is in flight."""

    def __init__(self, world: World) -> None:
        super().__init__(world, FaultRates(0, 0, 0, 0, 0, 0, 0, 0, 0), jitter_seconds=SQS_SECONDS)
        self._in_flight: set[Any] = set()
        self.most_in_flight = 0

    def send(self, pool: str, hints: Sequence[Hint]) -> None:
        """Ten in a call, four calls at the same time."""
        for at in range(0, len(hints), BATCH * QUEUE_THREADS):
            self._world.pause(SQS_SECONDS * self._world.rng.lognormvariate(0.0, JITTER))
            super().send(pool, hints[at : at + BATCH * QUEUE_THREADS])

    def receive(self, pool: str, limit: int, now: float) -> Received:
        """Some messages."""
        received = super().receive(pool, limit, now)
        self._in_flight.update(message.receipt for message in received.messages)
        self.most_in_flight = max(self.most_in_flight, len(self._in_flight))
        return received

    def delete(self, messages: Sequence[Message]) -> None:
        """Forget messages."""
        self._in_flight.difference_update(message.receipt for message in messages)
        super().delete(messages)

    def extend(self, messages: Sequence[Message], seconds: float) -> None:
        """Hide or show them."""
        if not seconds:
            self._in_flight.difference_update(message.receipt for message in messages)
        super().extend(messages, seconds)


class ModelledBlobs(MemoryBlobs):
    """Objects, with S3's latency."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self.puts = self.gets = 0

    def put(self, key: str, data: Data) -> None:
        """Write one."""
        self.puts += 1
        self._world.pause(S3_SECONDS * self._world.rng.lognormvariate(0.0, JITTER))
        super().put(key, data)

    def get(self, key: str) -> bytes:
        """Read one."""
        self.gets += 1
        self._world.pause(S3_SECONDS * self._world.rng.lognormvariate(0.0, JITTER))
        return super().get(key)


def _write_units(size: int) -> int:
    return math.ceil(size / WRITE_UNIT_BYTES)


def _key(session_id: str, lane: int) -> str:
    return f"{session_id}#{lane:02d}"
