"""Native workers whose side the test plays: the agent's is the real one, without processes."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Self, cast

import pytest

from htcgrid_core.agent.workers import captured_output
from htcgrid_core.agent.workers.environment import surroundings
from htcgrid_core.agent.workers.native import pool, wire
from htcgrid_core.agent.workers.native.pool import NativeWorkers
from htcgrid_core.agent.workers.native.process import Process
from htcgrid_core.agent.workers.native.wire import ChunkBody, Gauge, Kind, gauge_memory
from htcgrid_core.codecs import outcomes as codec
from htcgrid_core.codecs.outcomes import Outcomes
from htcgrid_core.ports.worker import FunctionRef, Rung, WorkerEvent


class Popen:
    """A process that is none."""

    pid = 0

    def __init__(self) -> None:
        self.returncode: int | None = None

    def wait(self) -> int:
        """How it ended."""
        return self.returncode or 0


class Played(Process):
    """A worker's process as its agent sees it, and the ends that its worker would have."""

    theirs: socket.socket
    memory: Gauge
    inbox: bytearray
    started: ClassVar[list[Played]] = []

    @classmethod
    def start(cls, slot: int, function: FunctionRef, threads_each: int | None = None) -> Self:  # noqa: ARG003
        """One that says that it runs."""
        ours, theirs = socket.socketpair()
        fd = gauge_memory()
        files = captured_output.capture_file(), captured_output.capture_file()
        played = cls(slot, cast(Any, Popen()), ours, Gauge(fd), *files, surroundings(function), pidfd=-1)
        played.theirs, played.memory, played.inbox = theirs, Gauge(fd), bytearray()
        os.close(fd)
        for each in (ours, theirs):
            each.setblocking(False)
        played.send(wire.message(Kind.HELLO))
        cls.started.append(played)
        return played

    def kill(self) -> None:
        """It ends, and with it its end of the connection."""
        if self.popen.returncode is None:
            self.popen.returncode = -9
        self.theirs.close()

    @property
    def is_alive(self) -> bool:
        """Whether its agent has let it live."""
        return self.popen.returncode is None

    def send(self, data: bytes) -> None:
        """Write to the agent, as far as it takes it."""
        with suppress(OSError):
            self.theirs.send(data)

    def arrived(self) -> Iterator[ChunkBody]:
        """The chunks that have arrived; functions are loaded as they come."""
        with suppress(OSError):
            while data := self.theirs.recv(1 << 20):
                self.inbox += data
        while len(self.inbox) >= wire.HEAD.size:
            length, kind = wire.HEAD.unpack_from(self.inbox)
            body = bytes(self.inbox[wire.HEAD.size : wire.HEAD.size + length])
            if len(body) < length:
                return
            del self.inbox[: wire.HEAD.size + length]
            if kind in (Kind.CHUNK, Kind.STORED_CHUNK):
                yield wire.unpack_chunk(body, kind)
            elif b'"confirm": true' in body:
                self.send(wire.message(Kind.LOADED))

    def run(self, chunk: ChunkBody, result: Callable[[bytes], bytes]) -> None:
        """Run a chunk as a worker does."""
        done, at = Outcomes(), 0
        for position, (index, length) in enumerate(zip(chunk.indexes, chunk.lengths, strict=True)):
            self.memory.begin(chunk.serial, position, time.monotonic())
            payload = result(bytes(chunk.data[at : at + length]))
            done.add(index, False, chunk.attempts[position], time.time(), 0.0, payload)
            at += length
        self.memory.rest()
        self.send(wire.pack_outcomes(chunk.serial, codec.pack(done)))


class Looking(NativeWorkers):
    """A pool that never waits: its workers run in the test's own thread."""

    def wait(self, timeout_seconds: float) -> list[WorkerEvent]:
        """What happened, as if the agent were rung all the time."""
        return [*super().wait(0.0), Rung()]


@contextmanager
def played() -> Iterator[list[Played]]:
    """Pools start played workers; every one that was started."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "Process", Played)
        patch.setattr(Played, "started", [])
        yield Played.started
