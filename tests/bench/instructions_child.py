"""One count of ``instructions``: run by its path with another tree on the search path, so it uses what both have.

This process is a native worker of a deployed function; a child of it is the agent that gives it tasks.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from htcgrid_core.agent.lru import LruCache
from htcgrid_core.agent.workers import captured_output
from htcgrid_core.agent.workers.native import wire, worker_main
from htcgrid_core.agent.workers.native.process import Process
from htcgrid_core.agent.workers.native.wire import ChunkBody, Gauge, Kind, gauge_memory
from htcgrid_core.domain.function import Environment, FunctionSpec, Package
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.ports.worker import FunctionRef

CHUNK_TASKS = 100
SESSION = "s-instructions"
HANDLER = """
def handler(event, context):
    return {"id": event["id"], "value": event["notional"] * 0.97, "desk": event["desk"]}
"""


def function_message(folder: str) -> bytes:
    """What an agent of this tree says of a deployed function."""
    named = {"function": "pricing", "version": 1, "handler": "app.handler", "runtime": f"python3.{sys.version_info[1]}"}
    if "encoding" in Package.model_fields:
        named["encoding"] = "lambda"
    function = FunctionSpec(
        name="app.handler",
        package=Package.model_validate(named),
        environment=Environment(python=sys.executable, path=(folder,), cwd=folder),
    )
    reference = FunctionRef("pricing:1", SESSION, SessionSpec(function=function, task_timeout_seconds=3600))
    teller = SimpleNamespace(_functions=LruCache(1), _unconfirmed=0, loading_since=None)
    return wire.json_message(Kind.FUNCTION, Process._function_body(cast(Any, teller), reference))


def chunks(tasks: int) -> Iterator[bytes]:
    """Their tasks."""
    for serial, first in enumerate(range(0, tasks, CHUNK_TASKS), 1):
        indexes = range(first, first + CHUNK_TASKS)
        events = [
            json.dumps({"id": f"trade-{n:06}", "notional": 1e6 + n, "desk": "rates"}, separators=(",", ":")).encode()
            for n in indexes
        ]
        lengths = [len(event) for event in events]
        yield wire.pack_chunk(ChunkBody(SESSION, serial, indexes, [1] * CHUNK_TASKS, lengths, {}, b"".join(events)))


def give(connection: socket.socket, folder: str, tasks: int) -> None:
    """Be the agent: give all tasks, and hear all outcomes."""
    if os.fork() == 0:
        while connection.recv(1 << 16):
            pass
        os._exit(0)
    connection.sendall(function_message(folder))
    for chunk in chunks(tasks):
        connection.sendall(chunk)
    connection.shutdown(socket.SHUT_WR)
    os.wait()


def main(tasks: int) -> None:
    """Run so many tasks."""
    worker_main.FLUSH_SECONDS = 3600.0  # outcomes go with their chunk's last: by the clock it would be another count
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "app.py").write_text(HANDLER)
        ours, theirs = socket.socketpair()
        agent = os.fork()
        if agent == 0:
            theirs.close()
            give(ours, folder, tasks)
            os._exit(0)
        ours.close()
        sys.path.insert(0, folder)
        told = os.dup(1)
        for stream in (1, 2):
            os.dup2(captured_output.capture_file(), stream)  # as an agent starts it
        worker_main.Worker(theirs, Gauge(gauge_memory())).serve()
        theirs.shutdown(socket.SHUT_RDWR)
        os.waitpid(agent, 0)
    os.write(told, f"{os.getpid()}\n".encode())
    os._exit(0)  # the thread that flushes late waits still


if __name__ == "__main__":
    main(int(sys.argv[1]))
