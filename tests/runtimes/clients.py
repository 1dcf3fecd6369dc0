"""A pool of the Runtime API without an agent: the test is the agent, and often the client too."""

from __future__ import annotations

import http.client
import json
import os
import socket
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import psutil

from htcgrid_core.agent.workers.runtime_api.workers import RuntimeApiWorkers
from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.codecs.values import encode_json
from htcgrid_core.domain.function import Environment, FunctionSpec, Package
from htcgrid_core.ports.metrics import NO_METRICS, Metrics
from htcgrid_core.ports.worker import Chunk, Flushed, FunctionRef, WorkerEvent
from tests.e2e.support import eventually
from tests.planes import spec

T = TypeVar("T")

# Tells the test its port, and leaves the rest to it.
IDLE = '#!/bin/sh\necho "$AWS_LAMBDA_RUNTIME_API" > "port-$$.new"\nmv "port-$$.new" "port-$$"\nexec sleep 600\n'
VERSION = "/2018-06-01/runtime"


@dataclass(frozen=True)
class Answer:
    """What the Runtime API answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def request_id(self) -> str:
        """Of the invocation."""
        return self.headers["lambda-runtime-aws-request-id"]


@dataclass
class Host:
    """A pool, and what happened in it."""

    pool: RuntimeApiWorkers
    folder: Path
    events: list[WorkerEvent] = field(default_factory=list)
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(8))
    serial: int = 0

    def run(
        self,
        values: Sequence[Any],
        slot: int = 0,
        launched_by: tuple[str, ...] = (),
        package_options: Mapping[str, Any] = MappingProxyType({}),
        first_index: int = 0,
        **options: Any,
    ) -> Chunk:
        """Queue a chunk of these events."""
        self.serial += 1
        encoded = [encode_json(value) for value in values]
        count = len(encoded)
        function = FunctionSpec(
            name="app:1",
            blob="packages/0",
            package=Package.model_validate(
                {"function": "app", "version": 1, "handler": "app.handler", "runtime": "provided.al2023"}
                | dict(package_options)
            ),
            environment=Environment(python="", cwd=str(self.folder)),
        )
        # A stand-in for the launcher: it enters the package's folder and becomes the bootstrap.
        launcher = launched_by or ("/bin/sh", "-c", f'cd "{self.folder}" && exec "$@"', "launcher")
        reference = FunctionRef("app", "s-tests", spec(function=function, **options), launcher=launcher)
        indexes = range(first_index, first_index + count)
        lengths = [len(data) for data in encoded]
        chunk = Chunk(self.serial, reference, indexes, [1] * count, lengths, b"".join(encoded), {})
        self.pool.run(slot, chunk)
        return chunk

    def worker(self, slot: int = 0) -> psutil.Process:
        """The process of a slot's worker."""
        return psutil.Process(self.pool._sandboxes[slot].started.popen.pid)

    def until(self, fact: Callable[[], T], what: str) -> T:
        """Let the pool work until ``fact()`` is true."""

        def looked() -> T:
            self.events += self.pool.wait(0.01)
            return fact()

        return eventually(looked, what)

    def first(self, kind: type[T]) -> T:
        """The first event of a kind; it is taken from the list."""
        found = self.until(lambda: [event for event in self.events if isinstance(event, kind)], f"a {kind.__name__}")
        self.events.remove(found[0])
        return found[0]

    def outcome(self) -> Outcome:
        """The next outcome."""
        return next(iter(self.first(Flushed).outcomes))

    def ports(self) -> list[str]:
        """Addresses of the workers that were started, oldest first."""
        written = [path for path in self.folder.glob("port-*") if path.suffix != ".new"]  # which are renamed any time
        return [path.read_text().strip() for path in sorted(written, key=lambda path: path.stat().st_mtime_ns)]

    def addresses(self) -> list[str]:
        """Of all clients that may come."""
        return self.ports()

    def ask(self, method: str, path: str, body: bytes | None = None, **options: Any) -> Future[Answer]:
        """Send a request while the pool goes on."""
        address = self.until(self.ports, "a worker started")[-1]
        return self.threads.submit(ask, options.pop("address", address), method, path, body, **options)

    def answered(self, method: str, path: str, body: bytes | None = None, **options: Any) -> Answer:
        """Send a request and wait for its answer."""
        asked = self.ask(method, path, body, **options)
        self.until(asked.done, f"{method} {path} is answered")
        return asked.result()

    def next(self, **options: Any) -> Answer:
        """The next invocation."""
        return self.answered("GET", f"{VERSION}/invocation/next", **options)

    def respond(self, request_id: str, value: Any) -> Answer:
        """Post a result."""
        return self.answered("POST", f"{VERSION}/invocation/{request_id}/response", json.dumps(value).encode())


def ask(address: str, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
    """One request over a connection of its own."""
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()


def anybody(connection: socket.socket, pid: int) -> bool:
    """Tests are the client of workers that are none."""
    return True


@contextmanager
def hosted(
    folder: Path,
    bootstrap: str = IDLE,
    slots: int = 1,
    may: Callable[[socket.socket, int], bool] = anybody,
    count: Metrics = NO_METRICS,
) -> Iterator[Host]:
    """A pool whose workers run ``bootstrap``."""
    program = folder / "bootstrap"
    program.write_text(bootstrap)
    os.chmod(program, program.stat().st_mode | stat.S_IXUSR)
    host = Host(RuntimeApiWorkers(slots, count, may), folder)
    try:
        yield host
    finally:
        host.pool.close()
        host.threads.shutdown(wait=True, cancel_futures=True)
