"""Invocations of a deployed function in a worker of this machine, without a session: for whoever tries it out.

The worker is one of an agent's: the same package, verified and unpacked, the same variables, limits and runtimes.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from htcgrid_core.agent.loop.blob_verifier import BlobVerifier
from htcgrid_core.agent.loop.slots import TIMEOUT
from htcgrid_core.agent.memory import available_mb
from htcgrid_core.agent.workers.by_runtime import Workers
from htcgrid_core.agent.workers.family import peak_mb
from htcgrid_core.codecs.outcomes import Outcome, decode_error, encode_error
from htcgrid_core.codecs.schemas import Schema, sentence
from htcgrid_core.codecs.values import decode_json
from htcgrid_core.domain.errors import GridUnavailable, InvalidEvent
from htcgrid_core.domain.function import FunctionVersion
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.worker import (
    Chunk,
    Flushed,
    FunctionRef,
    LoadFailed,
    Refused,
    StartFailed,
    WorkerEvent,
    WorkerLost,
)
from htcgrid_core.services.functions import resolve

LOOK_SECONDS = 1.0  # between looks at workers, as agents do
SLOT = 0


@dataclass(frozen=True, slots=True)
class Invoked:
    """One invocation, at its end.

    Attributes:
        request_id: as its handler was told.
        result: its decoded result, if there is no error.
        stdout, stderr: what it printed, as it is kept with a task.
        seconds: that it took.
        init_seconds: from the start of its worker until it began; None if its worker was there.
        memory_mb: that its worker might have.
        peak_mb: that its worker has had so far, its children included; None where that is not known, or it has ended.
    """

    request_id: str
    result: object
    error: TaskError | None
    stdout: str
    stderr: str
    seconds: float
    init_seconds: float | None
    memory_mb: int
    peak_mb: int | None


class Invoker:
    """A worker of one version of a function, which is invoked again and again; a context manager.

    Args:
        cache: folder for unpacked packages, which agents of this machine share.
        cache_bytes: of all that is in it.

    Raises:
        FunctionNotFound: there is no such version.
        CorruptPayload: its package is damaged, or not written by a holder of the grid's key.
    """

    def __init__(self, plane: Plane, function: str, version: int | None, cache: Path, cache_bytes: int) -> None:
        self.version: FunctionVersion = resolve(plane, function, version)
        self._spec = SessionSpec(
            function=self.version.spec(),
            codec="json",
            task_timeout_seconds=self.version.timeout_seconds,
            memory_mb=self.version.memory_mb,
            isolation=self.version.isolation,
        )
        verifier = BlobVerifier(plane)
        session_id = f"s-{os.urandom(12).hex()}"
        path = verifier.function(self._spec)
        self._function = FunctionRef(
            self._spec.worker_key(session_id), session_id, self._spec, path, grid=verifier.grid,
            results_schema=verifier.results_schema(self._spec),
        )  # fmt: skip
        self._events_schema = None if self.version.events_schema is None else Schema(self.version.events_schema)
        self._workers = Workers(1, None, cache, cache_bytes)
        self._serial = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workers.close()

    def invoke(self, event: bytes) -> Invoked:
        """Run the function with an encoded event, and wait for it.

        Raises:
            InvalidEvent: it is not what the function's schema says.
            GridUnavailable: no worker can be started on this machine.
        """
        if self._events_schema is not None and (found := self._events_schema.problems_in(event)):
            raise InvalidEvent(self._serial, sentence(found))
        began = time.time()
        is_warm = self._workers.process_id(SLOT) is not None
        chunk = Chunk(self._serial + 1, self._function, [self._serial], [1], [len(event)], event, {})
        self._serial += 1
        self._workers.run(SLOT, chunk)
        while True:
            for happened in self._workers.wait(self._time_left()):
                outcome = _end_of(happened, chunk)
                if outcome is not None:
                    return self._told(outcome, None if is_warm else max(0.0, outcome.started - began))
            if self._time_left() <= 0.0:
                error = TaskError(TIMEOUT, f"Task timed out after {self._spec.task_timeout_seconds:g} seconds")
                self._workers.kill(SLOT, error)

    def _time_left(self) -> float:
        running, limit = self._workers.running(SLOT), self._spec.task_timeout_seconds
        if running is None or limit is None:
            return LOOK_SECONDS
        return min(LOOK_SECONDS, running[2] + limit - time.monotonic())

    def _told(self, outcome: Outcome, init_seconds: float | None) -> Invoked:
        pid = self._workers.process_id(SLOT)
        peak = None if pid is None else peak_mb(pid)
        if self._spec.isolation == "task":
            self._workers.discard(SLOT)
        return Invoked(
            request_id=f"{self._function.session_id}/{outcome.index}/{outcome.attempt}",
            result=None if outcome.failed else decode_json(outcome.payload),
            error=decode_error(outcome.payload) if outcome.failed else None,
            stdout=outcome.stdout,
            stderr=outcome.stderr,
            seconds=outcome.seconds,
            init_seconds=init_seconds,
            memory_mb=self._spec.memory_mb or available_mb(),
            peak_mb=peak,
        )


def _end_of(happened: WorkerEvent, chunk: Chunk) -> Outcome | None:
    """The outcome of a chunk of one task, if that is what happened."""
    match happened:
        case Flushed():
            return next(iter(happened.outcomes))
        case Refused():
            return happened.outcome
        case WorkerLost():
            return _failed(chunk, happened.error, happened.seconds, happened.stdout, happened.stderr)
        case LoadFailed():
            return _failed(chunk, happened.error, 0.0)
        case StartFailed():
            raise GridUnavailable(happened.reason)
        case _:  # it waits for sessions, which the grid's agents run
            return None


def _failed(chunk: Chunk, error: TaskError, seconds: float, stdout: str = "", stderr: str = "") -> Outcome:
    began = time.time() - seconds
    return Outcome(chunk.indexes[0], True, 1, began, seconds, encode_error(error), stdout, stderr)
