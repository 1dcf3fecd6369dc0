"""``python -m tests.bench.console``: what looking costs, when ten look at one session of a million tasks.

Viewers ask what the console's page of a session asks, at its pace. The session goes on meanwhile, by bundles that are
committed as an agent does. Figures are CPU time of the server's process and of the committing thread, with and without
viewers, in the same run.
"""

from __future__ import annotations

import argparse
import http.client
import multiprocessing
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from rich.console import Console
from rich.table import Table

from htcgrid_core import connect
from htcgrid_core.api.console import STATIC
from htcgrid_core.ports.plane import Plane
from tests.bench.rest import Watched
from tests.console.many import BUNDLE, end_root, many_tasks, plane_of
from tests.e2e.support import fresh_grid
from tests.served import Server, serving

COMMITS_A_SECOND = 5
SETTLE_SECONDS = 10.0


def paces() -> dict[str, float]:
    """Milliseconds between two looks of the page, as its script has them."""
    found = re.findall(r"^const (\w+_MS) = ([0-9_]+);", (STATIC / "session.js").read_text(), re.MULTILINE)
    return {name: float(value) for name, value in found}


@dataclass
class Used:
    """In one phase: the server's CPU, and that of a commit, in seconds."""

    server: float
    commit: float
    megabytes: float


class Agent:
    """Commits bundles of a session one after the other, at a steady pace, in a thread of its own."""

    def __init__(self, plane: Plane, session_id: str, roots: Iterator[int]) -> None:
        self._plane = plane
        self._session_id = session_id
        self._roots = roots
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.commits = 0
        self.cpu_seconds = 0.0

    def __enter__(self) -> Agent:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(1 / COMMITS_A_SECOND):
            began = time.thread_time()
            end_root(self._plane, self._session_id, next(self._roots), set())
            self.cpu_seconds += time.thread_time() - began
            self.commits += 1


class _Viewer:
    """What one page asks for, again and again, in threads that end with their process."""

    def __init__(self, url: str, token: str, session_id: str, total: int) -> None:
        self._at = urlsplit(url).netloc
        self._headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "gzip"}
        path, pace = f"/v1/sessions/{session_id}", paces()
        states_ms = max(pace["MAP_MS"], pace["MILLION_MS"] * total / 1e6)
        timing_ms = max(pace["TIMING_MS"], pace["TIMING_MILLION_MS"] * total / 1e6)
        tables = [f"{path}/history", f"{path}/tasks?state=FAILED&limit=50"]
        for every_ms, paths in (
            (states_ms, [f"{path}/states"]),
            (None, tables),  # once, while no other task fails
            (timing_ms, [f"{path}/timings"]),
            (0.0, [f"{path}/watch?every={min(1.0, total / 1e6)}"]),
        ):
            threading.Thread(target=self._again, args=(every_ms, paths)).start()

    def _again(self, every_ms: float | None, paths: list[str]) -> None:
        connection = http.client.HTTPConnection(self._at, timeout=3600)
        known: dict[str, str] = {}
        while True:
            for path in paths:  # as browsers have it: what they know, they ask for with its tag
                tag = {"If-None-Match": known[path]} if path in known else {}
                connection.request("GET", path, headers={**self._headers, **tag})
                answer = connection.getresponse()
                body = answer.read()
                assert answer.status in (200, 304), body
                if etag := answer.headers["etag"]:
                    known[path] = etag
            if every_ms is None:
                return
            time.sleep(every_ms / 1000)


def _view(url: str, token: str, session_id: str, total: int, viewers: int) -> None:
    for _ in range(viewers):
        _Viewer(url, token, session_id, total)


def _looked_at(server: Server, session_id: str, total: int, viewers: int, seconds: float, agent: Agent) -> Used:
    """What is used while so many look, from a process of theirs."""
    watched = Watched(psutil.Process(server.process.pid))
    arguments = (server.url, server.token, session_id, total, viewers)
    process = multiprocessing.get_context("spawn").Process(target=_view, args=arguments)
    process.start()
    try:
        time.sleep(SETTLE_SECONDS)  # until all have opened the page
        cpu, commits, used, began = watched.cpu_seconds, agent.commits, agent.cpu_seconds, time.perf_counter()
        time.sleep(seconds)
        share = (watched.cpu_seconds - cpu) / (time.perf_counter() - began)
        commit = (agent.cpu_seconds - used) / max(1, agent.commits - commits)
        assert process.is_alive() or not viewers, "the viewers have gone"
    finally:
        process.terminate()
        process.join()
    return Used(share, commit, watched.megabytes)


@contextmanager
def _session(total: int) -> Iterator[tuple[Server, str, Plane]]:
    """A served session, half of whose tasks have ended, and one failed."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-console-") as folder,
        fresh_grid(Path(folder) / "grid") as url,
        serving(url, Path(folder) / "keys.json") as server,
        connect(url) as grid,
    ):
        record = many_tasks(grid, "s-looked-at", total, done=total // BUNDLE // 2, failed={total // 3})
        yield server, record.session_id, plane_of(grid)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--viewers", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each phase")
    options = parser.parse_args()
    table = Table("who looks", "the server's CPU, % of a core", "CPU of a commit, ms", "the server's memory, MB")
    with _session(options.tasks) as (server, session_id, plane):
        roots = iter(range(options.tasks // BUNDLE // 2, options.tasks // BUNDLE))
        with Agent(plane, session_id, roots) as agent:
            for viewers in (0, options.viewers, 0):
                used = _looked_at(server, session_id, options.tasks, viewers, options.seconds, agent)
                who = f"{viewers} at {options.tasks:,} tasks" if viewers else "nobody"
                table.add_row(who, f"{used.server:.1%}", f"{1000 * used.commit:.2f}", f"{used.megabytes:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
