"""A native worker's process by itself, told what an agent tells it at moments that an agent meets only now and then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from htcgrid_core.agent.workers.native.process import Process
from htcgrid_core.client.environment import this_environment
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.ports.worker import Chunk, Flushed, FunctionRef
from tests.e2e.support import eventually

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
