"""S9 on AWS: whichever one bit flips in what is stored or sent, no event, result or session is another than it was."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core.adapters.aws.dynamodb import item_payloads
from htcgrid_core.adapters.aws.dynamodb.attribute_values import values
from htcgrid_core.adapters.aws.dynamodb.schema import SORT
from htcgrid_core.adapters.aws.s3.blobs import S3Blobs
from htcgrid_core.adapters.aws.s3.cache import BlobCache
from htcgrid_core.adapters.aws.sqs import messages
from htcgrid_core.codecs import frames
from htcgrid_core.codecs import outcomes as outcomes_codec
from htcgrid_core.codecs.outcomes import Outcome, Outcomes
from htcgrid_core.disk.cache import DiskCache
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.payload import Payload
from htcgrid_core.domain.session import SessionRecord, SessionSpec
from htcgrid_core.ports.bundle_queue import Hint, Message
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import payloads, results
from htcgrid_core.services.claim import Work, claim
from htcgrid_core.services.commit import commit
from htcgrid_core.testing.contracts.facts import everything
from tests.aws.emulators import Account
from tests.aws.grids import clients_of
from tests.aws.stores import TABLE, make_table, store_of
from tests.contract.test_aws_blobs import bucket_of
from tests.manual_agent import submit
from tests.planes import memory_plane

pytestmark = pytest.mark.slow

SESSION = "s-damage"
EVENTS = [{"n": n, "book": "rates" * 40} for n in range(3)]
HINT = Hint(SESSION, "00000000")
SOME = 30
SPEC = SessionSpec(function=FunctionSpec(name="m.f"), bundle_size=len(EVENTS))
INLINE = {"inline": 8192, "blob": 0}


def spec_of(_: SessionRecord) -> SessionSpec:
    return SPEC


@dataclass
class Stored:
    """A session of one bundle on an emulator."""

    plane: Plane
    account: Account

    def items(self, letter: str) -> list[dict[str, Any]]:
        """Raw items of a kind."""
        found = self.account.dynamodb().scan(TableName=TABLE)["Items"]
        return [item for item in found if str(item[SORT]["S"]).startswith(letter)]

    def claim(self) -> Work:
        """Lease its bundle: the lease of an earlier claim has lapsed."""
        work = claim(self.plane, Message(HINT), agent_id="a", lease_seconds=0.0, spec_of=spec_of)
        assert work is not None
        return work


@pytest.fixture(params=INLINE)
def stored(request: pytest.FixtureRequest, aws_account: Account, tmp_path: Path) -> Stored:
    """Payloads in the table, or in the bucket."""
    make_table(aws_account)
    bucket = bucket_of(aws_account)
    aws_account.s3().create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    blobs = S3Blobs(clients_of(aws_account), bucket, BlobCache(DiskCache(tmp_path / "cache", 1 << 30)))
    plane = replace(
        memory_plane(tmp_path), store=store_of(aws_account), blobs=blobs, inline_payload_bytes=INLINE[request.param]
    )
    submit(plane, SESSION, SPEC, EVENTS, idempotent=True)
    return Stored(plane, aws_account)


def flipped(data: bytes) -> Iterator[bytes]:
    """With each bit flipped in turn."""
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)


def some(damaged: Iterator[bytes]) -> list[bytes]:
    """A few of them, for what takes several calls each."""
    every = list(damaged)
    return random.Random(9).sample(every, min(SOME, len(every)))


def damage(stored: Stored, letter: str) -> Iterator[None]:
    """The payload of the bundle with one bit or another flipped, wherever it is stored; whole again at the end."""
    client, bucket = stored.account.s3(), bucket_of(stored.account)
    folder = "/events/" if letter == "R" else "/outcomes/"
    every = client.list_objects_v2(Bucket=bucket, Prefix=f"sessions/{SESSION}/").get("Contents", [])
    for blob in (each for each in every if folder in each["Key"]):
        whole = client.get_object(Bucket=bucket, Key=blob["Key"])
        good = whole["Body"].read()
        for data in [*some(flipped(good)), good]:
            client.put_object(Bucket=bucket, Key=blob["Key"], Body=data, Metadata=whole["Metadata"])
            if data != good:
                yield
    for item in stored.items(letter):
        for data in [*some(flipped(item["p"]["B"])), item["p"]["B"]] if "p" in item else ():
            stored.account.dynamodb().put_item(TableName=TABLE, Item={**item, "p": {"B": data}})
            if data != item["p"]["B"]:
                yield


def finish(stored: Stored) -> None:
    """Commit outcomes for its bundle."""
    outcomes = Outcomes()
    for index in range(len(EVENTS)):
        outcomes.append(Outcome(index, False, 1, 0.0, 0.0, b'"' + b"12.5 " * 60 + b'"', "", ""))
    commit(stored.plane, stored.claim(), outcomes, (), None)


def test_events_are_never_others(stored: Stored) -> None:
    """A task whose event is damaged fails; it does not run with another."""
    found = []
    for _ in damage(stored, "R"):
        work = stored.claim()
        assert bool(work.corrupt) == (work.events is None)
        found.append(work.corrupt or [json.loads(event) for event in work.events.payloads()])  # type: ignore[union-attr]
    assert len(found) == SOME
    corrupt = [one for one in found if one != EVENTS]  # a few bits of a deflated payload mean nothing
    assert len(corrupt) > SOME / 2
    assert all(isinstance(one, str) for one in corrupt)
    assert not stored.claim().corrupt


def test_results_are_never_others(stored: Stored) -> None:
    """Reading raises CorruptPayload."""
    finish(stored)
    good = read(stored)
    assert len(good) == len(EVENTS)
    found = [read_or_none(stored) for _ in damage(stored, "B")]
    assert len(found) == SOME
    assert found.count(None) > SOME / 2
    assert all(one in (None, good) for one in found)
    assert read(stored) == good


@pytest.mark.parametrize("stored", ["blob"], indirect=True)
def test_a_result_that_is_read_by_itself_is_never_another(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    """By range, without the rest of its object."""
    monkeypatch.setattr(limits, "RANGE_PAYS_BYTES", 0)
    finish(stored)
    good = read(stored)
    (page,) = results.pages_after(stored.plane, SESSION, 0)
    told = 0
    for _ in damage(stored, "B"):
        try:
            found = results.some_outcomes(stored.plane, SESSION, SPEC, page, lambda index, _: index == 1)
        except CorruptPayload:
            told += 1
        else:
            assert found == good[1:2]
    assert told > SOME / 2
    assert results.some_outcomes(stored.plane, SESSION, SPEC, page, lambda index, _: index == 1) == good[1:2]


def read(stored: Stored) -> list[Outcome]:
    """Outcomes as a client reads them."""
    (page,) = results.pages_after(stored.plane, SESSION, 0)
    return list(results.page_outcomes(stored.plane, SESSION, SPEC, page))


def read_or_none(stored: Stored) -> list[Outcome] | None:
    """None if they are known to be damaged."""
    try:
        return read(stored)
    except CorruptPayload:
        return None


@pytest.mark.parametrize("stored", ["inline"], indirect=True)
def test_every_bit_of_an_inline_payload(stored: Stored) -> None:
    """Of both, deflated as they are: each bit, without the calls."""
    finish(stored)
    unpackers: list[tuple[str, Callable[[bytes], object]]] = [("R", frames.unpack), ("B", outcomes_codec.unpack)]
    for letter, unpack in unpackers:
        (item,) = (values(raw) for raw in stored.items(letter))
        good = load(stored, item_payloads.payload_of(item))
        unpack(good)
        assert item["p"][0] == 1, "it is deflated"
        for data in flipped(item["p"]):
            try:
                found = load(stored, item_payloads.payload_of({**item, "p": data}))
                unpack(found)
            except CorruptPayload:
                continue
            assert found == good


def load(stored: Stored, payload: Payload) -> bytes:
    """What is in a row, as services read it."""
    return bytes(payloads.load(stored.plane, SESSION, SPEC, payloads.EVENTS, payload))


@pytest.mark.parametrize("stored", ["inline"], indirect=True)
def test_messages_make_nobody_do_anything_else(stored: Stored) -> None:
    """Whatever bundle it names then: nothing is claimed that is not there to be claimed."""
    before = everything(stored.plane.store, SESSION)
    body = messages.write(replace(HINT, not_before=1.5, priority="low"))
    hints = [content.hint for data in flipped(body.encode()) if (content := messages.read(data.decode("latin-1")))]
    assert len(hints) > 8, "digits of its numbers become others"
    names = {(hint.session_id, hint.bundle_id) for hint in hints if hint is not None} - {(SESSION, HINT.bundle_id)}
    for session_id, bundle_id in names:
        hint = Hint(session_id, bundle_id)
        assert claim(stored.plane, Message(hint), agent_id="a", lease_seconds=1.0, spec_of=spec_of) is None
    assert everything(stored.plane.store, SESSION) == before
