"""A native worker's process by itself, told what an agent tells it at moments that an agent meets only now and then."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import TypeVar

import pytest

from htcgrid_core.agent.workers.native.pool import NativeWorkers
from htcgrid_core.agent.workers.native.process import Process
from htcgrid_core.client.environment import this_environment
from htcgrid_core.domain import limits
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.ports.worker import Chunk, Flushed, FunctionRef, Used, WorkerEvent, WorkerLost
from tests.e2e.support import eventually

T = TypeVar("T")

SOURCE = """
import time
from pathlib import Path

def handler(event, context):
    if event == "edit":
        with open(__file__, "a") as source:
            source.write("EDITED = True\\n")
        while not Path(__file__).with_name("gate").exists():
            time.sleep(0.005)
    return event
"""


def chunk_of(serial: int, session_id: str, event: str) -> Chunk:
    data = json.dumps(event).encode()
    spec = SessionSpec(function=FunctionSpec(name="edited.handler", environment=this_environment()))
    function = FunctionRef(spec.worker_key(session_id), session_id, spec)
    return Chunk(serial, function, [0], [1], [len(data)], data, {})


def test_what_ended_is_told_before_the_worker_ends_for_edited_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the next session's chunk there, outcomes wait to be sent beside it; but this worker will not run it."""
    (tmp_path / "edited.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    first, second = chunk_of(1, "s-one", "edit"), chunk_of(2, "s-two", "next")
    process = Process.start(0, first.function)
    flushed: list[Flushed] = []

    def heard() -> bool:
        flushed.extend(event for event in process.read()[0] if isinstance(event, Flushed))
        return process.stale

    try:
        process.give(first)
        eventually(process.gauge.running, "its task runs")
        process.give(second)
        (tmp_path / "gate").touch()
        eventually(heard, "the worker says that it is stale")
    finally:
        process.reap()
        process.close()
    assert [(event.serial, list(event.outcomes.indexes), event.outcomes.failures) for event in flushed] == [(1, [0], 0)]
    assert [chunk.serial for chunk in process.chunks] == [2]  # for another worker


def test_a_worker_that_neither_runs_its_task_nor_tells_its_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is given up after a while, and the task charged, or it could take one worker after another with it."""
    (tmp_path / "still.py").write_text("def handler(event, context):\n    return event\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = SessionSpec(function=FunctionSpec(name="still.handler", environment=this_environment()))
    function = FunctionRef(spec.worker_key("s-one"), "s-one", spec)
    pool = NativeWorkers(1, None)
    heard: list[WorkerEvent] = []

    def found(kind: type[T]) -> list[T]:
        heard.extend(pool.wait(0.01))
        return [event for event in heard if isinstance(event, kind)]

    try:
        pool.run(0, Chunk(1, function, [0], [1], [1], b"0", {}))
        eventually(lambda: found(Flushed), "it has loaded")
        monkeypatch.setattr(limits, "WORKER_START_SECONDS", 0.5)
        os.kill(pool._processes[0].popen.pid, signal.SIGSTOP)
        pool.run(0, Chunk(2, function, [1, 2], [1, 1], [1, 1], b"00", {}))
        (lost,) = eventually(lambda: found(WorkerLost), "it is given up")
    finally:
        pool.close()
    assert lost.running == (2, 0)
    assert (lost.error.type, "fell silent" in lost.error.message) == ("WorkerCrashed", True)


def test_a_long_task_is_no_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker between tasks for a moment, one that runs a task for long, and one that has nothing to do all live."""
    (tmp_path / "slow.py").write_text("import time\ndef handler(event, context):\n    time.sleep(event)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = SessionSpec(function=FunctionSpec(name="slow.handler", environment=this_environment()))
    function = FunctionRef(spec.worker_key("s-one"), "s-one", spec)
    pool = NativeWorkers(1, None)
    heard: list[WorkerEvent] = []

    def ended() -> list[WorkerEvent]:
        heard.extend(pool.wait(0.01))
        return [event for event in heard if isinstance(event, Flushed | WorkerLost)]

    try:
        pool.run(0, Chunk(1, function, [0], [1], [3], b"0.0", {}))
        eventually(ended, "it has loaded")
        monkeypatch.setattr(limits, "WORKER_START_SECONDS", 0.2)
        monkeypatch.setattr("htcgrid_core.agent.workers.native.pool.CAPTURE_CHECK_SECONDS", 0.0)
        pool._capture_check_at = 0.0
        for serial, seconds in ((2, b"0.6"), (3, b"0.0")):
            heard.clear()
            pool.run(0, Chunk(serial, function, [0], [1], [3], seconds, {}))
            eventually(ended, "its outcome")
            until = time.monotonic() + 0.4
            while time.monotonic() < until:
                ended()
            assert [type(event) for event in heard if not isinstance(event, Used)] == [Flushed]
    finally:
        pool.close()
