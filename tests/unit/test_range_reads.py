"""Large payloads read in part: what was asked for and no other, few bytes, and none unverified."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from htcgrid_core import RetryPolicy, TaskOutcome
from htcgrid_core.adapters.local.blobs import FileBlobs
from htcgrid_core.codecs import frames, pieces
from htcgrid_core.codecs import outcomes as codec
from htcgrid_core.codecs.buffers import Buffer
from htcgrid_core.codecs.outcomes import Outcome, Outcomes
from htcgrid_core.codecs.pieces import PIECE_BYTES, SEAL_BYTES
from htcgrid_core.disk.cache import DiskCache
from htcgrid_core.domain import limits
from htcgrid_core.domain.bundle import root_id
from htcgrid_core.domain.errors import CorruptPayload, SignatureInvalid
from htcgrid_core.domain.payload import Payload
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import payloads
from htcgrid_core.services.commit import commit
from htcgrid_core.services.range_reads import RangeReader, range_pays
from tests.manual_agent import children, events_of, finish, run, take
from tests.planes import spec, still_grid

ID = "s-reader"
KEY = f"sessions/{ID}/events/00000000"
EVENTS = [f"event {n} ".encode() * 2000 for n in range(40)]  # of some 20 KB
CODECS = ("json", "pickle")


class Counted(FileBlobs):
    """Counts what is read."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, DiskCache(folder.parent / "unpacked", 1 << 30))
        self.reads: list[int] = []

    def get_range(self, key: str, start: int, length: int) -> Buffer:
        found = super().get_range(key, start, length)
        self.reads.append(len(found))
        return found


class InMemory:
    """A source of reader."""

    def __init__(self, data: bytes) -> None:
        self._data, self.size = data, len(data)

    def fetch(self, ranges: Iterable[tuple[int, int]]) -> None:
        assert all(0 <= start <= stop <= self.size for start, stop in ranges)

    def read(self, start: int, stop: int) -> bytes:
        if not 0 <= start <= stop <= self.size:
            raise CorruptPayload("not in it")
        return self._data[start:stop]


class Flipped:
    """A file with one bit wrong for a while."""

    def __init__(self, path: Path, bit: int) -> None:
        self._path, self._bit = path, bit

    def _flip(self) -> None:
        with open(self._path, "r+b") as file:
            file.seek(self._bit // 8)
            (byte,) = file.read(1)
            file.seek(self._bit // 8)
            file.write(bytes([byte ^ 1 << self._bit % 8]))

    def __enter__(self) -> None:
        self._flip()

    def __exit__(self, *_: object) -> None:
        self._flip()


@pytest.fixture(autouse=True)
def cheap_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that reader pay off in payloads of less than a megabyte."""
    monkeypatch.setattr(limits, "RANGE_PAYS_BYTES", PIECE_BYTES)


@pytest.fixture
def blobs(tmp_path: Path) -> Counted:
    return Counted(tmp_path / "counted")


@pytest.fixture
def large(plane: Plane, blobs: Counted) -> Plane:
    """A plane that puts every payload into its blob store."""
    return replace(plane, blobs=blobs, inline_payload_bytes=0)


def page_of(count: int) -> bytes:
    """Outcomes of some 20 KB, every third one failed, every fourth one with output."""
    outcomes = Outcomes()
    for n in range(count):
        stdout = f"out {n}" if n % 4 == 0 else ""
        outcomes.append(Outcome(2 * n, n % 3 == 0, n + 1, float(n), 0.5, f'"{n}"'.encode() * 6000, stdout, ""))
    return codec.pack(outcomes)


class TestSome:
    @given(st.lists(st.binary(max_size=20), max_size=8), st.sets(st.integers(0, 7)), st.lists(st.text(max_size=5)))
    def test_of_a_block(self, events: list[bytes], wanted: set[int], shared: list[str]) -> None:
        wanted = {number for number in wanted if number < len(events)}
        found = frames.unpack_some(InMemory(frames.pack(events, shared)), wanted)
        assert found.payloads() == [event if n in wanted else b"" for n, event in enumerate(events)]
        assert found.shared == tuple(shared)

    @given(st.integers(0, 9), st.sets(st.integers(0, 18)))
    def test_of_a_page(self, count: int, indexes: set[int]) -> None:
        packed = page_of(count)
        found = codec.unpack_some(InMemory(packed), lambda index, _: index in indexes)
        assert list(found) == [outcome for outcome in codec.unpack(packed) if outcome.index in indexes]

    @given(st.binary(max_size=80))
    def test_nonsense(self, body: bytes) -> None:
        """Unpacked, or CorruptPayload."""
        for magic, unpack in (
            (frames.MAGIC, lambda source: frames.unpack_some(source, [0])),
            (codec.MAGIC, lambda source: codec.unpack_some(source, lambda *_: True)),
        ):
            try:
                unpack(InMemory(magic + body))
            except CorruptPayload:
                continue


class TestRangeReader:
    @pytest.mark.parametrize("name", CODECS)
    def test_few_bytes_are_read(self, large: Plane, blobs: Counted, name: str) -> None:
        """The first piece, which begins with the lengths, and the pieces that the payload is in."""
        payload = self.stored(large, name)
        for number in range(len(EVENTS)):
            blobs.reads.clear()
            found = frames.unpack_some(self.reader(large, name, payload), [number])
            assert found.payloads()[number] == EVENTS[number]
            assert len(blobs.reads) <= 2
            assert sum(blobs.reads) <= pieces.table_bytes(payload.size) + 3 * PIECE_BYTES < payload.size / 3

    def test_what_is_near_is_one_call(self, large: Plane, blobs: Counted) -> None:
        payload = self.stored(large, "json")
        blobs.reads.clear()
        frames.unpack_some(self.reader(large, "json", payload), range(5, 35, 2))
        assert len(blobs.reads) == 2
        blobs.reads.clear()
        frames.unpack_some(self.reader(large, "json", payload), [5, 20, 35])
        assert len(blobs.reads) == 4

    @pytest.mark.parametrize("name", CODECS)
    def test_any_bit_of_the_table(self, large: Plane, blobs: Counted, name: str) -> None:
        payload = self.stored(large, name)
        for bit in range(8 * pieces.table_bytes(payload.size)):
            with self.flipped(blobs, bit), pytest.raises(CorruptPayload):
                self.reader(large, name, payload)

    @pytest.mark.parametrize("name", CODECS)
    def test_any_bit_of_what_is_read(self, large: Plane, blobs: Counted, name: str) -> None:
        """It is told, or was not of what was asked for."""
        payload = self.stored(large, name)
        rng = random.Random(4)
        told = 0
        for _ in range(150):
            number = rng.randrange(len(EVENTS))
            with self.flipped(blobs, rng.randrange(8 * payload.size)):
                try:
                    found = frames.unpack_some(self.reader(large, name, payload), [number])
                except CorruptPayload:
                    told += 1
                else:
                    assert found.payloads()[number] == EVENTS[number]
                with pytest.raises(CorruptPayload):
                    payloads.load(large, ID, spec(codec=name), payloads.EVENTS, payload)
        assert 0 < told < 150

    def test_pieces_of_who_has_not_the_key(self, large: Plane, blobs: Counted) -> None:
        """Digests anybody can make; the signature over their table not."""
        payload = self.stored(large, "pickle")
        whole = blobs.get(KEY)
        body = b"x" * len(whole[pieces.table_bytes(payload.size) :])
        table = pieces.table(body)
        for seal in (whole[:SEAL_BYTES], b"\0" * SEAL_BYTES, hashlib.sha256(table).digest()):
            blobs.path(KEY).write_bytes(seal + table + body)
            with pytest.raises(SignatureInvalid):
                self.reader(large, "pickle", payload)

    def test_another_length(self, large: Plane, blobs: Counted) -> None:
        payload = self.stored(large, "json")
        for size in (0, 1, 43, 44, PIECE_BYTES, payload.size - 1, payload.size + 1, 2 * payload.size):
            with pytest.raises(CorruptPayload):
                self.reader(large, "json", replace(payload, size=size))
        for length in (0, 44, payload.size - 1):
            whole = blobs.path(KEY).read_bytes()
            blobs.path(KEY).write_bytes(whole[:length])
            with pytest.raises(CorruptPayload):
                frames.unpack_some(self.reader(large, "json", payload), [len(EVENTS) - 1])
            blobs.path(KEY).write_bytes(whole)

    @pytest.mark.parametrize("length", [1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 5 * PIECE_BYTES])
    def test_any_length(self, large: Plane, length: int) -> None:
        body = random.Random(length).randbytes(length)
        payload = payloads.store(large, ID, spec(), payloads.EVENTS, body, KEY)
        reader = RangeReader(large, ID, spec(), payloads.EVENTS, payload)
        assert reader.size == length
        for start in range(0, length, PIECE_BYTES // 2 + 1):
            assert reader.read(start, length) == body[start:]
        with pytest.raises(CorruptPayload):
            reader.read(0, length + 1)
        assert payloads.load(large, ID, spec(), payloads.EVENTS, payload) == body

    def test_damaged_once_on_its_way(self, large: Plane, blobs: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
        """Is read again."""
        payload = self.stored(large, "json")
        damaged: list[bool] = []

        def once(key: str, start: int, length: int) -> bytes:
            data = bytes(FileBlobs.get_range(blobs, key, start, length))
            damaged.append(len(damaged) % 2 == 0)
            return bytes([data[0] ^ 1]) + data[1:] if damaged[-1] else data

        monkeypatch.setattr(blobs, "get_range", once)
        assert frames.unpack_some(self.reader(large, "json", payload), [39]).payloads()[39] == EVENTS[39]
        assert damaged.count(True) == 2

    @staticmethod
    def stored(plane: Plane, name: str) -> Payload:
        return payloads.store(plane, ID, spec(codec=name), payloads.EVENTS, frames.pack(EVENTS), KEY)

    @staticmethod
    def reader(plane: Plane, name: str, payload: Payload) -> RangeReader:
        return RangeReader(plane, ID, spec(codec=name), payloads.EVENTS, payload)

    @staticmethod
    def flipped(blobs: Counted, bit: int) -> Flipped:
        return Flipped(blobs.path(KEY), bit)


class TestTogether:
    """Large payloads of one write share a blob, and each is read by itself."""

    PACKED = tuple(
        frames.pack([f"{number}".encode() * size]) for number, size in enumerate((40_000, 10, 90_000, 70_000))
    )

    @pytest.mark.parametrize("codec", CODECS)
    def test_each_is_read_by_itself(self, plane: Plane, blobs: Counted, codec: str) -> None:
        plane = replace(plane, blobs=blobs, inline_payload_bytes=1000)
        stored = self.stored(plane, codec)
        assert [payload.data is None for payload in stored] == [True, False, True, True]
        assert len({payload.key for payload in stored if payload.key}) == 1
        assert [self.loaded(plane, codec, payload) for payload in stored] == list(self.PACKED)
        assert blobs.reads == [payload.size for payload in stored if payload.data is None], "and nothing beside it"

    def test_parts_of_one(self, plane: Plane, blobs: Counted) -> None:
        plane = replace(plane, blobs=blobs, inline_payload_bytes=1000)
        last, packed = self.stored(plane, "json")[-1], self.PACKED[-1]
        reader = RangeReader(plane, ID, spec(), payloads.EVENTS, last)
        assert reader.read(66_000, 66_100) == packed[66_000:66_100]
        assert reader.read(0, reader.size) == packed

    def test_a_single_large_one_has_a_blob_of_its_own(self, plane: Plane) -> None:
        plane = replace(plane, inline_payload_bytes=1000)
        _, large = payloads.store_in_one_blob(plane, ID, spec(), payloads.EVENTS, self.PACKED[1:3], KEY)
        assert large.key is not None
        assert (large.at, len(plane.blobs.get(large.key))) == (None, large.size)

    def test_other_bytes_have_another_key(self, plane: Plane) -> None:
        """What a try that failed has left under the same root is never taken for what was written after it."""
        plane = replace(plane, inline_payload_bytes=0)
        first, second = (
            payloads.store_in_one_blob(plane, ID, spec(), payloads.EVENTS, packed, KEY)
            for packed in (self.PACKED[:2], self.PACKED[1::-1])
        )
        assert not {payload.key for payload in first} & {payload.key for payload in second}

    def test_damage_is_one_payloads(self, plane: Plane, blobs: Counted) -> None:
        plane = replace(plane, blobs=blobs, inline_payload_bytes=1000)
        first, _, second, third = self.stored(plane, "json")
        assert first.key is not None
        assert second.at is not None
        for bit in (8 * second.at, 8 * (second.at + second.size) - 1):
            with Flipped(blobs.path(first.key), bit):
                with pytest.raises(CorruptPayload):
                    self.loaded(plane, "json", second)
                assert self.loaded(plane, "json", first) == self.PACKED[0]
                assert self.loaded(plane, "json", third) == self.PACKED[3]

    def test_one_is_never_taken_for_another(self, plane: Plane) -> None:
        plane = replace(plane, inline_payload_bytes=1000)
        first, _, second, _ = self.stored(plane, "pickle")
        assert second.at is not None
        for wrong in (
            replace(second, at=second.at + 1),
            replace(second, size=first.size),
            replace(second, at=10 << 20),
        ):
            with pytest.raises(CorruptPayload):
                self.loaded(plane, "pickle", wrong)

    def test_many_bundles_are_few_objects(self, large: Plane) -> None:
        events = [str(n % 10) * 20_000 for n in range(320)]  # of 6.4 MB: more than is written at once
        session = still_grid(large).submit("math.sqrt", events, bundle_size=4)
        blocks = large.store.blocks(session.id, 0, 100)
        assert len(blocks) == 80
        assert len({block.payload.key for block in blocks}) == 2
        finish(large, len)
        assert list(session.results()) == [20_000] * 320

    def stored(self, plane: Plane, codec: str) -> list[Payload]:
        return payloads.store_in_one_blob(plane, ID, spec(codec=codec), payloads.EVENTS, self.PACKED, KEY)

    def loaded(self, plane: Plane, codec: str, payload: Payload) -> bytes:
        return bytes(payloads.load(plane, ID, spec(codec=codec), payloads.EVENTS, payload))


class TestReaders:
    """Who needs a part of a large block or page reads no more of it."""

    def test_an_agent_with_a_part_of_a_bundle(self, large: Plane, blobs: Counted) -> None:
        events = [str(n % 10) * 20_000 for n in range(40)]
        session = still_grid(large).submit("math.sqrt", events, bundle_size=40)
        work = take(large, Hint(session.id, root_id(0)))
        assert work is not None
        assert len(blobs.reads) == 1, "who has all of it reads it whole, in one call"
        done = run(large, work, len, [])
        commit(large, work, done.outcomes, children(large, work, done, size=3), None)
        for found in large.store.open_bundles(session.id, "", 100):
            blobs.reads.clear()
            work = take(large, Hint(session.id, found.bundle.bundle_id))
            assert work is not None
            assert events_of(work) == {n: events[n] for n in found.bundle.indexes}
            assert sum(blobs.reads) < 200_000, "of 800,000"

    def test_a_client_that_asks_for_some_tasks(self, large: Plane, blobs: Counted) -> None:
        def outcome(event: int) -> str:
            if event == 33:
                raise ValueError("no good")
            return str(event) * 20_000

        grid = still_grid(large)
        session = grid.submit("math.sqrt", range(40), bundle_size=40, retry=RetryPolicy(max_attempts=1))
        finish(large, outcome)
        whole = sum(len(str(n)) for n in range(40)) * 20_000
        reads: list[tuple[Callable[[], Iterable[TaskOutcome]], int]] = [
            (lambda: [session.task(20)], 250_000),
            (lambda: session.tasks("FAILED"), 200_000),
            (lambda: session.tasks("COMPLETED"), 2 * whole),
            (session.tasks, 2 * whole),
        ]
        for read, most in reads:
            blobs.reads.clear()
            tasks = list(read())
            assert 0 < sum(blobs.reads) < most
            for task in tasks:
                assert task.result == (None if task.index == 33 else str(task.index) * 20_000)
                assert (task.error is not None) == (task.index == 33)
        assert session.task(33).error is not None


def test_inline_payloads_have_no_parts() -> None:
    assert not range_pays(Payload.inline(b"x" * (5 << 20)))
    assert range_pays(Payload.blob(KEY, 5 << 20))
    assert not range_pays(Payload.blob(KEY, 5 << 20), share=1.0)
