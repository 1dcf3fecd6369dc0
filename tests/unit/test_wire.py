"""Between an agent and its workers: messages, and the memory they share."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from htcgrid_core.agent.workers.native import wire
from htcgrid_core.agent.workers.native.wire import ChunkBody, Gauge, Kind
from tests.unit.gauge_writer import begin_many

u32 = st.integers(0, 2**32 - 1)


@st.composite
def chunks(draw: st.DrawFn) -> ChunkBody:
    lengths = draw(st.lists(st.integers(0, 30), max_size=20))
    count = len(lengths)
    return ChunkBody(
        session_id=draw(st.text(max_size=20)),
        serial=draw(st.integers(0, 2**64 - 1)),
        indexes=draw(st.lists(u32, min_size=count, max_size=count)),
        attempts=draw(st.lists(st.integers(0, 65535), min_size=count, max_size=count)),
        lengths=lengths,
        shared=draw(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3)),
        data=draw(st.binary(min_size=sum(lengths), max_size=sum(lengths))),
    )


class TestMessages:
    @given(chunks())
    def test_chunks_come_back(self, chunk: ChunkBody) -> None:
        packed = wire.pack_chunk(chunk)
        length, kind = wire.HEAD.unpack_from(packed)
        assert (length, kind) == (len(packed) - wire.HEAD.size, Kind.CHUNK)
        found = wire.unpack_chunk(packed[wire.HEAD.size :])
        assert (found.session_id, found.serial) == (chunk.session_id, chunk.serial)
        assert (found.shared, found.data) == (chunk.shared, chunk.data)
        assert (list(found.indexes), list(found.attempts), list(found.lengths)) == (
            chunk.indexes, chunk.attempts, chunk.lengths,
        )  # fmt: skip

    def test_an_attempt_too_many_is_still_a_chunk(self) -> None:
        packed = wire.pack_chunk(ChunkBody("s-1", 1, [0], [70_000], [0], {}, b""))
        assert list(wire.unpack_chunk(packed[wire.HEAD.size :]).attempts) == [65_535]

    @given(st.integers(0, 2**64 - 1), st.binary(max_size=50))
    def test_outcomes_come_back(self, serial: int, packed: bytes) -> None:
        sent = wire.pack_outcomes(serial, packed)
        assert wire.unpack_outcomes(sent[wire.HEAD.size :]) == (serial, packed)


class TestGauge:
    @pytest.fixture
    def file(self) -> Iterator[Path]:
        with tempfile.NamedTemporaryFile() as file:
            file.truncate(Gauge.SIZE)
            yield Path(file.name)

    @pytest.fixture
    def worker(self, file: Path) -> Iterator[Gauge]:
        yield from self._open(file)

    @pytest.fixture
    def agent(self, file: Path) -> Iterator[Gauge]:
        yield from self._open(file)

    def _open(self, file: Path) -> Iterator[Gauge]:
        fd = os.open(file, os.O_RDWR)
        gauge = Gauge(fd)
        os.close(fd)
        yield gauge
        gauge.close()

    def test_tells_what_runs(self, worker: Gauge, agent: Gauge) -> None:
        assert agent.running() is None
        worker.begin(7, 0, 12.5)
        assert agent.running() == (7, 0, 12.5)
        worker.begin(7, 3, 13.5)
        assert agent.running() == (7, 3, 13.5)
        worker.rest()
        assert agent.running() is None

    def test_is_never_read_torn(self, file: Path, agent: Gauge) -> None:
        """Against a worker that begins tasks as fast as it can, in another process."""
        count = 400_000
        process = multiprocessing.get_context("spawn").Process(target=begin_many, args=(str(file), count))
        process.start()
        last = 0
        reads = 0
        while process.is_alive():
            for _ in range(500):
                found = agent.running()
                if found is not None:
                    serial, position, started = found
                    assert serial == position == started
                    assert serial >= last
                    last = serial
                    reads += 1
        process.join()
        assert process.exitcode == 0
        assert agent.running() == (count, count, float(count))
        assert reads > 100

    def test_a_worker_killed_while_it_wrote(self, worker: Gauge, agent: Gauge) -> None:
        """A half-written task is none, and the agent goes on: it does not wait for the dead."""
        worker.begin(7, 3, 1.0)
        first = bytes(worker._memory[:32])
        worker.begin(8, 0, 2.0)
        second = bytes(worker._memory[:32])
        for written in range(8, 32, 8):
            for start, end in ((second, first), (first, second), (bytes(32), first), (second, bytes(32))):
                agent._memory[:32] = start[:written] + end[written:]
                assert agent.running() is None

    def test_revocation(self, worker: Gauge, agent: Gauge) -> None:
        assert not worker.is_revoked(1, 0)
        agent.revoke(5, 3, 9)
        revoked = {(s, p) for s in range(1, 13) for p in range(6) if worker.is_revoked(s, p)}
        assert revoked == {(5, p) for p in range(3, 6)} | {(s, p) for s in range(6, 10) for p in range(6)}
