"""``python -m tests.bench.rest``: the REST API, with many who wait, a million tasks, and one request after the other.

Clients here know nothing but HTTP. Figures are those of the server's process, from the operating system.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from rich.console import Console
from rich.table import Table

from htcgrid_core import connect
from htcgrid_core.testing import handlers
from tests.bench.invokes import invokes
from tests.bench.reads import reads
from tests.e2e.support import fresh_grid
from tests.rest import NDJSON, Rest
from tests.served import Server, serving

HANDLER = f"{handlers.__name__}.{handlers.task.__name__}"
PART_TASKS = 50_000
MEGABYTE = 1 << 20


@dataclass
class Watched:
    """What a server's process has used."""

    process: psutil.Process

    @property
    def cpu_seconds(self) -> float:
        """All of its threads' time."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    @property
    def megabytes(self) -> float:
        """That it has in memory."""
        return float(self.process.memory_info().rss) / MEGABYTE


@contextmanager
def _served() -> Iterator[tuple[str, Server, Rest, Watched]]:
    """A server of a fresh grid."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-rest-") as folder,
        fresh_grid(Path(folder) / "grid") as url,
        serving(url, Path(folder) / "keys.json") as server,
    ):
        yield url, server, Rest(server.url, server.token), Watched(psutil.Process(server.process.pid))


# Many who wait


async def _wait(url: str, token: str, session: str, kind: str, ready: Callable[[], None]) -> None:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    head = f"Host: {parts.netloc}\r\nAuthorization: Bearer {token}\r\n"
    first = True
    while True:
        if kind == "events":
            writer.write(f"GET /v1/sessions/{session}/watch?timeout=3600 HTTP/1.1\r\n{head}\r\n".encode())
            await reader.readuntil(b"\r\n\r\n")
            ready()
            await reader.read()
            return
        body = json.dumps({"sessions": [session], "timeout": 20})
        length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"POST /v1/wait HTTP/1.1\r\n{head}{length}\r\n{body}".encode())
        if first:
            await writer.drain()
            ready()
            first = False
        answer = await reader.readuntil(b"\r\n\r\n")
        size = int(next(line for line in answer.lower().split(b"\r\n") if b"content-length" in line).split(b":")[1])
        await reader.readexactly(size)


async def _waiting(url: str, token: str, sessions: list[str], clients: int, seconds: float, watched: Watched) -> float:
    """The share of a core that a server takes while clients wait for what does not happen."""
    count = 0
    everybody = asyncio.Event()

    def ready() -> None:
        nonlocal count
        count += 1
        if count == clients:
            everybody.set()

    tasks = [
        asyncio.create_task(_wait(url, token, sessions[n % len(sessions)], ("poll", "events")[n % 2], ready))
        for n in range(clients)
    ]
    await everybody.wait()
    await asyncio.sleep(5)  # until all are at rest
    before, began = watched.cpu_seconds, time.perf_counter()
    await asyncio.sleep(seconds)
    share = (watched.cpu_seconds - before) / (time.perf_counter() - began)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return share


def waiting(table: Table, clients: int, seconds: float) -> None:
    """Half by long poll, half by events; of as many sessions."""
    for sessions in (1, clients):
        with _served() as (_, server, rest, watched):
            body = {"function": HANDLER, "events": [{"sleep": 3600}]}
            ids = [rest.post("/v1/sessions", body).json["id"] for _ in range(sessions)]
            before = watched.megabytes
            share = asyncio.run(_waiting(server.url, server.token, ids, clients, seconds, watched))
            what = f"{clients:,} who wait, of {sessions:,} sessions, when nothing happens"
            table.add_row(what, f"{share:.1%} of a core, {watched.megabytes - before:.0f} MB more")
            for session in ids:
                rest.post(f"/v1/sessions/{session}/cancel")


# A million tasks


def million(table: Table, tasks: int) -> None:
    """Submitted in parts, and read as one stream; beside the same in this process."""
    own = Watched(psutil.Process(os.getpid()))
    with _served() as (url, _, rest, watched):
        with connect(url) as grid:
            began = time.perf_counter()
            session = grid.submit(HANDLER, range(tasks))
            here = time.perf_counter() - began
            session.cancel()
            session.wait()
        before, mine = watched.megabytes, own.megabytes
        most = most_mine = 0.0
        began = time.perf_counter()
        identity = rest.post("/v1/sessions", {"function": HANDLER}).json["id"]
        path, parts = f"/v1/sessions/{identity}", -(-tasks // PART_TASKS)
        for part in range(parts):
            numbers = range(part * PART_TASKS, min(tasks, (part + 1) * PART_TASKS))
            rest.put(f"{path}/parts/{part}", "\n".join(map(str, numbers)).encode(), media=NDJSON)
            most = max(most, watched.megabytes)
        while rest.post(f"{path}/seal", {"parts": parts, "wait": 20}).status == 202:
            most = max(most, watched.megabytes)
        there = time.perf_counter() - began
        most, most_mine = max(most, watched.megabytes), max(most_mine, own.megabytes)
        table.add_row(f"{tasks:,} tasks submitted in parts", f"{there:.1f} s, {there / here:.2f} of in-process")
        table.add_row(
            "the server's memory meanwhile", f"{most - before:.0f} MB more; the client's {most_mine - mine:.0f}"
        )
        rest.ended(identity)
        before, mine, most, most_mine, count, size = watched.megabytes, own.megabytes, 0.0, 0.0, 0, 0
        began = time.perf_counter()
        for line in rest.lines(f"{path}/results"):
            count, size = count + 1, size + len(line)
            if count % 10_000 == 0:
                most, most_mine = max(most, watched.megabytes), max(most_mine, own.megabytes)
        seconds = time.perf_counter() - began
        assert count == tasks, count
        table.add_row(f"{tasks:,} results as JSON lines", f"{seconds:.1f} s, {count / seconds:,.0f} a second")
        table.add_row(
            "the server's memory meanwhile", f"{most - before:.0f} MB more; the client's {most_mine - mine:.0f}"
        )


# One request after the other


def requests(table: Table, count: int) -> None:
    """On one connection, by one client."""
    with _served() as (_, _, rest, watched):
        session = rest.post("/v1/sessions", {"function": HANDLER, "events": [1]}).json["id"]
        rest.ended(session)
        for what, method, path, body in (
            ("GET one session", "GET", f"/v1/sessions/{session}", None),
            ("GET a list of ten", "GET", "/v1/sessions?limit=10", None),
            ("POST 1,000 events", "POST", "/v1/sessions", {"function": HANDLER, "events": list(range(1000))}),
        ):
            times, cpu = _asked(rest, watched, count if body is None else count // 20, method, path, body)
            table.add_row(what, _told(times, cpu))


def invocations(table: Table, count: int) -> None:
    """Beside ministack's Lambda."""
    with _served() as (_, server, _, watched):
        invokes(table, server, lambda: watched.cpu_seconds, count)


def _asked(rest: Rest, watched: Watched, count: int, method: str, path: str, body: Any) -> tuple[list[float], float]:
    connection = rest.connection()
    connection.connect()

    def ask() -> http.client.HTTPResponse:
        response = rest.sent(connection, method, path, body)
        response.read()
        return response

    assert ask().status < 300
    times, before = [], watched.cpu_seconds
    for _ in range(count):
        began = time.perf_counter()
        ask()
        times.append(time.perf_counter() - began)
    connection.close()
    return times, (watched.cpu_seconds - before) / count


def _told(times: list[float], cpu_seconds: float) -> str:
    return (
        f"{1 / statistics.mean(times):,.0f} a second, p50 {statistics.median(times) * 1000:.2f} ms, "
        f"{cpu_seconds * 1e6:,.0f} µs of the server's CPU"
    )


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.rest", description=__doc__)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0, help="for which they wait")
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--only", choices=("waiting", "million", "requests", "reads", "invokes"))
    asked = parser.parse_args()
    table = Table("what", "figure")
    if asked.only in (None, "requests"):
        requests(table, asked.requests)
    if asked.only in (None, "reads"):
        reads(table, asked.requests)
    if asked.only in (None, "invokes"):
        invocations(table, asked.requests)
    if asked.only in (None, "waiting"):
        waiting(table, asked.clients, asked.seconds)
    if asked.only in (None, "million"):
        million(table, asked.tasks)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
