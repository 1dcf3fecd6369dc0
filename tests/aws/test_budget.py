"""What a session costs on AWS: calls counted at the wire, units by our calculator, and the budgets of both."""

from __future__ import annotations

import itertools
import random
import string
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core.adapters.aws.doorbell import ProcessDoorbell
from htcgrid_core.adapters.aws.dynamodb import capacity
from htcgrid_core.adapters.aws.s3.blobs import S3Blobs
from htcgrid_core.adapters.aws.s3.cache import BlobCache
from htcgrid_core.disk.cache import DiskCache
from htcgrid_core.domain import limits
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.prices import PRICES
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.ports.bundle_queue import Hint, Message, Received
from htcgrid_core.ports.keyring import Keyring
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import results
from htcgrid_core.testing.contracts import given
from tests.aws.emulators import Account
from tests.aws.grids import clients_of
from tests.aws.meter import Meter
from tests.aws.stores import TABLE, make_table, store_of
from tests.manual_agent import parse, submit, work_on
from tests.planes import KEY, ManualClock

SQS_CALLS_A_BUNDLE = 2.1  # a tenth of a batch to send it; to receive and to delete it, a call each at worst
SESSION = "s-0123456789abcdef01234567"
ASK = {"ReturnConsumedCapacity": "INDEXES"}


@dataclass
class Hints:
    """A queue in memory: what SQS costs is known without it."""

    hints: deque[Hint] = field(default_factory=deque)

    def send(self, pool: str, hints: Sequence[Hint]) -> None:
        self.hints.extend(hints)

    def receive(self, pool: str, limit: int, now: float) -> Received:
        return Received([Message(self.hints.popleft())] if self.hints else [])

    def sharers(self, pool: str, tenant: str) -> int:
        return 0

    def front(self, pool: str) -> float:
        return 0.0

    def may_have_lost(self, pool: str) -> bool:
        return not self.hints

    def delete(self, messages: Sequence[Message]) -> None:
        """Nothing: what was received is gone."""

    def extend(self, messages: Sequence[Message], seconds: float) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Metered:
    """A plane and what its calls came to."""

    plane: Plane
    meter: Meter


@pytest.fixture
def metered(aws_account: Account, tmp_path: Path) -> Metered:
    make_table(aws_account)
    meter = Meter(aws_account, TABLE)
    bucket = f"budget-{aws_account.id}"
    clients = clients_of(aws_account)
    meter.watch(clients.s3)
    aws_account.s3().create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    store = store_of(aws_account, client=meter.watch(aws_account.dynamodb()))
    tokens = (f"{number:032x}" for number in itertools.count(1 << 100))
    plane = Plane(
        store=store,
        queue=Hints(),
        blobs=S3Blobs(clients, bucket, BlobCache(DiskCache(tmp_path, 1 << 30))),
        clock=ManualClock(),
        doorbell=ProcessDoorbell(),
        keys=Keyring.of(KEY),
        time_slice_seconds=limits.TIME_SLICE_SECONDS,
        inline_payload_bytes=limits.AWS_INLINE_PAYLOAD_BYTES,
        rng=random.Random(7),
        token=lambda: next(tokens),
    )
    return Metered(plane, meter)


def text_of(size: int, rng: random.Random) -> str:
    """So many bytes of JSON, as badly compressible as base64 is."""
    return "".join(rng.choices(string.ascii_letters + string.digits + "+/", k=size - 2))


def run_session(metered: Metered, tasks: int, bundle_size: int, payload_bytes: int = 1024) -> dict[str, float]:
    """Submit, run and end a session; what it came to a task."""
    plane, meter = metered.plane, metered.meter
    rng = random.Random(tasks)
    spec = SessionSpec(function=FunctionSpec(name="pricing.handler"), bundle_size=bundle_size, name="book-2026-11-20")
    events = [text_of(payload_bytes, rng) for _ in range(tasks)]
    submit(plane, SESSION, spec, events, idempotent=False)
    answers = iter([text_of(payload_bytes, rng) for _ in range(tasks)])
    work_on(plane, lambda _: next(answers))
    record = plane.store.session(SESSION, plane.clock.now())
    assert (record.state, record.counters.completed) == (SessionState.COMPLETED, tasks)
    calls = meter.calls.total()
    bundles = tasks / bundle_size
    found = {
        "calls": (calls + SQS_CALLS_A_BUNDLE * bundles) / tasks,
        "write units": meter.write_units / tasks,
        "read units": meter.read_units / tasks,
        "dollars a million": (meter.dollars + SQS_CALLS_A_BUNDLE * bundles * PRICES.sqs_request) / tasks * 1e6,
    }
    print(f"\n{tasks} tasks in bundles of {bundle_size}: {found}\n{dict(meter.calls)} {dict(meter.writes)}")
    return found


class TestBudget:
    """Of design: at 1 KB in and 1 KB out, everything included, up to the session's end."""

    def test_the_largest_bundles(self, metered: Metered) -> None:
        found = run_session(metered, 20 * 256 * 2, 256)
        assert found["calls"] <= 0.15
        assert found["dollars a million"] <= 0.25

    def test_the_largest_bundles_with_their_results(self, metered: Metered) -> None:
        """Reading them all, in the order of the events, is within the budget too."""
        tasks = 20 * 256 * 2
        found = run_session(metered, tasks, 256)
        calls, dollars = metered.meter.calls.total(), metered.meter.dollars
        record = metered.plane.store.session(SESSION, metered.plane.clock.now())
        outcomes: list[Any] = list(results.in_index_order(metered.plane, record, parse(record)))
        assert len(outcomes) == tasks
        assert found["calls"] + (metered.meter.calls.total() - calls) / tasks <= 0.15
        assert found["dollars a million"] + (metered.meter.dollars - dollars) / tasks * 1e6 <= 0.25

    @pytest.mark.parametrize("tasks", [20, 75, 150, pytest.param(1000, marks=pytest.mark.slow)])
    def test_bundles_of_one(self, metered: Metered, tasks: int) -> None:
        """Of a session that is written in one step, and of those that are not; by an agent of a single slot."""
        found = run_session(metered, tasks, 1)
        assert found["calls"] <= 8
        assert found["write units"] <= 7


class TestCalculator:
    """Beside what ministack reports. Its write units are right; its read units are 1, however much was read."""

    @pytest.mark.parametrize("bundle_size", [1, 8])
    def test_write_units_of_a_session(self, metered: Metered, bundle_size: int) -> None:
        reported: list[float] = []
        events = metered.plane.store.table.client().meta.events  # type: ignore[attr-defined]  # a DynamoStore
        for operation in ("PutItem", "UpdateItem", "BatchWriteItem", "TransactWriteItems"):
            events.register(f"before-parameter-build.dynamodb.{operation}", _ask)
            events.register(f"after-call.dynamodb.{operation}", partial(_note, reported))
        run_session(metered, 34 * bundle_size, bundle_size)
        assert metered.meter.write_units == sum(reported)

    @pytest.mark.parametrize("size", [100, 1023, 1024, 1025, 2049, 8000])
    @pytest.mark.parametrize("transactional", [False, True])
    def test_write_units_of_sizes(self, metered: Metered, size: int, transactional: bool) -> None:
        db = metered.plane.store.table.client()  # type: ignore[attr-defined]  # a DynamoStore
        item: dict[str, dict[str, Any]] = {"pk": {"S": "p"}, "sk": {"S": "s"}, "live": {"S": "L"}, "v": {"B": b""}}
        item["v"] = {"B": b"x" * (size - capacity.item_bytes(item))}
        if transactional:
            writes = [{"Put": {"TableName": TABLE, "Item": item}}]
            (told,) = db.transact_write_items(TransactItems=writes, **ASK)["ConsumedCapacity"]
        else:
            told = db.put_item(TableName=TABLE, Item=item, **ASK)["ConsumedCapacity"]
        assert capacity.write_units(None, item, transactional=transactional) == told["CapacityUnits"]

    def test_ministack_does_not_count_reads(self, metered: Metered) -> None:
        """If this fails, ministack has learnt it: compare reads, too."""
        db = metered.plane.store.table.client()  # type: ignore[attr-defined]  # a DynamoStore
        item: dict[str, dict[str, Any]] = {"pk": {"S": "p"}, "sk": {"S": "s"}, "v": {"B": b"x" * 9000}}
        db.put_item(TableName=TABLE, Item=item)
        key = {name: item[name] for name in ("pk", "sk")}
        told = db.get_item(TableName=TABLE, Key=key, ConsistentRead=True, **ASK)["ConsumedCapacity"]
        assert capacity.read_units(capacity.item_bytes(item)) == 3.0
        assert told["CapacityUnits"] == 1.0


def _ask(params: dict[str, Any], **_: Any) -> None:
    params |= ASK


def _note(reported: list[float], parsed: dict[str, Any], **_: Any) -> None:
    told = parsed["ConsumedCapacity"]
    reported.extend(one["CapacityUnits"] for one in (told if isinstance(told, list) else [told]))


class TestProgress:
    def test_a_hundred_sessions_in_one_call(self, metered: Metered) -> None:
        """However many of them are waited for, and however large they are."""
        ids = [f"s-{number:04d}" for number in range(250)]
        for session_id in ids:
            metered.plane.store.create_whole(
                given.record(session_id), given.roots([2], session_id), digest="", tolerated=None
            )
        before = metered.meter.calls.total()
        for at in range(0, len(ids), 100):
            assert len(metered.plane.store.progress(ids[at : at + 100], given.NOW)) == len(ids[at : at + 100])
        assert metered.meter.calls.total() - before == 3
