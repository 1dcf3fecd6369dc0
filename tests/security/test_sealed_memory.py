"""Large results in memory that a worker has sealed: what it keeps of it changes nothing, and nothing else is taken."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import resource
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import connect
from htcgrid_core.agent.workers.native import process, sealed_memory, wire
from htcgrid_core.agent.workers.native.wire import Kind
from htcgrid_core.codecs import outcomes as codec
from htcgrid_core.codecs.outcomes import Outcomes
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.ports.worker import Flushed, FunctionRef
from tests.e2e.support import fresh_grid
from tests.planes import spec
from tests.security.played_workers import Played, played
from tests.security.test_hostile_worker import chunk

pytestmark = pytest.mark.skipif(not sealed_memory.IS_AVAILABLE, reason="there is no sealed memory here")
RESULT = b"r" * 100_000


@pytest.fixture
def fd() -> Iterator[int]:
    """Sealed memory."""
    made = sealed_memory.write([RESULT[:10], memoryview(RESULT)[10:]])
    yield made
    os.close(made)


def test_it_is_read_without_its_descriptor() -> None:
    fd = sealed_memory.write([RESULT])
    found = sealed_memory.read(fd, len(RESULT))
    os.close(fd)
    assert found == RESULT
    assert found.readonly


@pytest.mark.parametrize(
    "change",
    [
        lambda fd: os.pwrite(fd, b"x", 0),
        lambda fd: os.ftruncate(fd, 1),
        lambda fd: os.ftruncate(fd, 1 << 20),
        lambda fd: mmap.mmap(fd, len(RESULT)),
        lambda fd: mmap.mmap(os.open(f"/proc/self/fd/{fd}", os.O_RDWR), len(RESULT)),
        lambda fd: os.posix_fallocate(fd, 0, 1 << 20),
        lambda fd: fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 0),
    ],
)
def test_whoever_keeps_it_cannot_change_it(fd: int, change: Callable[[int], object]) -> None:
    with pytest.raises(PermissionError):
        change(fd)
    assert sealed_memory.read(fd, len(RESULT)) == RESULT


def test_what_can_be_written_through_a_map_cannot_be_sealed() -> None:
    fd = os.memfd_create("mapped", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 4096)
    with mmap.mmap(fd, 4096):
        with pytest.raises(OSError, match="busy"):
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
        with pytest.raises(CorruptPayload):
            sealed_memory.read(fd, 4096)
    os.close(fd)


def memory(size: int, seals: int) -> int:
    """A descriptor of memory with these seals."""
    fd = os.memfd_create("other", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


ALL = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL if sys.platform == "linux" else 0
OTHERS: list[Callable[[Path], int]] = [
    lambda _: memory(4096, 0),
    *(lambda _, missing=seal: memory(4096, ALL & ~missing) for seal in (1, 2, 4, 8)),
    lambda _: memory(0, ALL),
    lambda _: memory(limits.MAX_RESULT_BYTES + 1, ALL),
    lambda _: os.pipe()[0],
    lambda path: os.open(path, os.O_RDONLY),
    lambda path: os.open(path / "file", os.O_RDWR | os.O_CREAT),
    lambda _: socket.socket().detach(),
]


@pytest.mark.parametrize("number", range(len(OTHERS)))
def test_nothing_else_is_taken(tmp_path: Path, number: int) -> None:
    fd = OTHERS[number](tmp_path)
    with pytest.raises(CorruptPayload):
        sealed_memory.read(fd, limits.MAX_RESULT_BYTES)
    os.close(fd)


def huge_memory() -> int:
    """Sealed memory in huge pages, of which most machines have none."""
    fd = os.memfd_create("huge", os.MFD_ALLOW_SEALING | os.MFD_HUGETLB)
    os.ftruncate(fd, 2 << 20)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, ALL)
    return fd


def memory_for_writing() -> int:
    """Sealed memory behind a descriptor that cannot be read from."""
    fd = memory(4096, ALL & ~fcntl.F_SEAL_SEAL & ~fcntl.F_SEAL_WRITE)
    other = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, ALL)
    os.close(fd)
    return other


def test_where_there_is_no_room_for_a_map_it_is_copied(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> mmap.mmap:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(mmap, "mmap", refuse)
    found = sealed_memory.read(fd, len(RESULT))
    assert found == RESULT
    assert found.readonly


def test_half_of_the_descriptors_are_left_to_others() -> None:
    """Results that wait for their commit keep one each if they are mapped."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = max(map(int, os.listdir("/proc/self/fd"))) + 100
    held = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    try:
        for _ in range(2 * few):
            fd = sealed_memory.write([RESULT[:1000]])
            held.append(sealed_memory.read(fd, 1000))
            os.close(fd)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert all(result == RESULT[:1000] for result in held)


def told(*, first: int = 10, failed: bool = False, payload: bytes = b"", tasks: int = 1) -> bytes:
    """A RESULT message."""
    rows = Outcomes()
    for index in range(first, first + tasks):
        rows.add(index, failed, 1, time.time(), 0.0, payload)
    return wire.pack_outcomes(3, codec.pack(rows), Kind.RESULT)


class TestAgent:
    @pytest.fixture
    def worker(self) -> Iterator[Played]:
        with played():
            worker = Played.start(0, FunctionRef("key", "s-1", spec()))
            worker.give(chunk(3, [10, 11, 12]))
            before = set(os.listdir("/proc/self/fd"))
            yield worker
            worker._drop_memory()
            assert set(os.listdir("/proc/self/fd")) <= before, "it keeps no descriptor"
            worker.reap()
            worker.close()

    @staticmethod
    def say(worker: Played, data: bytes, *fds: int) -> list[Any]:
        """What the agent hears of it."""
        socket.send_fds(worker.theirs, [data], fds)
        for fd in fds:
            os.close(fd)
        return list(worker.read()[0])

    def test_a_result(self, worker: Played) -> None:
        (heard,) = self.say(worker, told(), sealed_memory.write([RESULT]))
        assert isinstance(heard, Flushed)
        (outcome,) = heard.outcomes
        assert (outcome.index, bytes(outcome.payload), heard.outcomes.size) == (10, RESULT, len(RESULT))
        assert not worker.violation

    def test_results_come_with_their_own_memory(self, worker: Played) -> None:
        """However they are read: all that came before a worker's end is heard."""
        for n in (1, 2):
            fd = sealed_memory.write([RESULT[:n]])
            socket.send_fds(worker.theirs, [told(first=9 + n)], [fd])
            os.close(fd)
        first, second = worker.read(to_the_end=True)[0]
        assert [(one.index, len(one.payload)) for one in (*first.outcomes, *second.outcomes)] == [(10, 1), (11, 2)]  # type: ignore[union-attr]

    @pytest.mark.parametrize(
        "data", [told(failed=True), told(payload=b"x"), told(tasks=2), told()[:-1], wire.message(Kind.RESULT)]
    )
    def test_what_is_not_one_result(self, worker: Played, data: bytes) -> None:
        data = wire.message(Kind.RESULT, data[wire.HEAD.size :])
        assert not self.say(worker, data, sealed_memory.write([RESULT]))
        assert worker.violation == "outcomes"

    def test_no_memory(self, worker: Played) -> None:
        assert not self.say(worker, told())
        assert worker.violation == "outcomes"

    @pytest.mark.parametrize("make", [huge_memory, memory_for_writing])
    def test_memory_that_cannot_be_mapped(self, worker: Played, make: Callable[[], int]) -> None:
        """The worker is charged with it, if it cannot be read either; its agent goes on."""
        heard = self.say(worker, told(), make())
        assert bool(heard) != bool(worker.violation)

    def test_more_memory_than_messages(self, worker: Played) -> None:
        fd = sealed_memory.write([RESULT])
        socket.send_fds(worker.theirs, [told()], [fd])
        assert len(self.say(worker, told(first=11), fd, os.dup(fd))) == 2
        assert (worker.violation, list(worker._memory)) == ("message", [])

    def test_memory_that_belongs_to_nothing(self, worker: Played) -> None:
        for _ in range(process.DESCRIPTORS_AT_ONCE + 1):
            if worker.violation:
                break
            fd = sealed_memory.write([b"r"])
            socket.send_fds(worker.theirs, [wire.HEAD.pack(1 << 20, Kind.RESULT)[:1]], [fd])
            os.close(fd)
            worker.read()
        assert worker.violation == "message"


def spoiling(event: int) -> bytes:
    """Return a large result while a thread writes to all memory that this process has."""
    import threading

    def spoil() -> None:
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            for name in os.listdir("/proc/self/fd"):
                with suppress(OSError, ValueError):
                    if "htcgrid-result" in os.readlink(f"/proc/self/fd/{name}"):
                        with open(f"/proc/self/fd/{name}", "r+b") as file:
                            file.seek(1000)
                            file.write(b"spoilt")

    threading.Thread(target=spoil, daemon=True).start()
    return bytes([event]) * 3_000_000


def test_a_task_that_keeps_writing(tmp_path: Path) -> None:
    """What it has written before the seal is its result; whatever it does then, what is read is what was committed."""
    with fresh_grid(tmp_path / "grid", slots=2) as url, connect(url) as grid:
        session = grid.submit(spoiling, range(6))
        first, second = list(session.results()), list(session.results())
        assert [len(result) for result in first] == [3_000_000] * 6
        assert first == second


def crowded(event: int) -> bytes:
    """Return a large result while as many descriptors are under way as this user may send."""

    def refuse(*_: object) -> int:
        raise OSError(errno.ETOOMANYREFS, "Too many references: cannot splice")

    socket.send_fds = refuse  # type: ignore[assignment]
    return bytes([event]) * 1_000_000


def test_a_task_whose_memory_cannot_be_sent(tmp_path: Path) -> None:
    with fresh_grid(tmp_path / "grid", slots=1) as url, connect(url) as grid:
        (result,) = grid.submit(crowded, [7], retry=1).results()
        assert result == b"\x07" * 1_000_000
