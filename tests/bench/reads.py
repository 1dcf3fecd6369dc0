"""Reads of one session, beside those of one flow run of Prefect's server and of one DAG run of Airflow's API.

Each server runs alone, as one process over SQLite, in an environment of its own; all are asked by the same clients.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from tests.bench.measure.cpu import tree_used_s
from tests.e2e.support import REPOSITORY, fresh_grid
from tests.rest import Answer, Rest
from tests.served import serving

CLIENTS = (1, 8)
WARM_UP = 50
START_SECONDS = 240.0  # they migrate their databases first, on a machine that may be busy
PREFECT, AIRFLOW = REPOSITORY / ".venv-prefect", REPOSITORY / ".venv-airflow"
DAG = """
from airflow.sdk import dag, task


@dag(schedule=None)
def book():
    @task
    def price():
        return 1

    price()


book()
"""


@dataclass
class Read:
    """What is read again and again.

    Attributes:
        pid: of the server, whose children are its own.
    """

    rest: Rest
    path: str
    pid: int


def reads(table: Table, count: int) -> None:
    """Rows of so many reads of each kind, by each number of clients."""
    kinds: tuple[tuple[str, Path | None, Callable[[Path], Iterator[Read]]], ...] = (
        ("one session, htcgrid", None, _session),
        ("one flow run, Prefect", PREFECT, _flow_run),
        ("one DAG run, Airflow", AIRFLOW, _dag_run),
    )
    for what, environment, opened in kinds:
        if environment is not None and not (environment / "ready").exists():
            table.add_row(f"GET {what}", f"is not installed: make {environment.name}/ready")
            continue
        with (
            tempfile.TemporaryDirectory(prefix="bench-reads-") as folder,
            contextmanager(opened)(Path(folder)) as read,
        ):
            _ask(read, WARM_UP)
            for clients in CLIENTS:
                table.add_row(f"GET {what}, {clients} at once", _measured(read, clients, count))


def _measured(read: Read, clients: int, count: int) -> str:
    times: list[float] = []
    threads = [threading.Thread(target=lambda: times.extend(_ask(read, count // clients))) for _ in range(clients)]
    before, began = tree_used_s(read.pid), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds, cpu = time.perf_counter() - began, tree_used_s(read.pid) - before
    assert len(times) == count // clients * clients, "a client has failed"
    return (
        f"{len(times) / seconds:,.0f} a second, p50 {statistics.median(times) * 1000:.2f} ms, "
        f"{cpu / len(times) * 1e6:,.0f} µs of the server's CPU"
    )


def _ask(read: Read, count: int) -> list[float]:
    """How long each of some requests takes (s), one after the other on a connection."""
    connection, times = read.rest.connection(), []
    for _ in range(count):
        began = time.perf_counter()
        response = read.rest.sent(connection, "GET", read.path)
        body = response.read()
        times.append(time.perf_counter() - began)
        assert response.status == 200, body
    connection.close()
    return times


# The servers


def _session(folder: Path) -> Iterator[Read]:
    with fresh_grid(folder / "grid") as url, serving(url, folder / "keys.json") as server:
        rest = Rest(server.url, server.token)
        body = {"function": "htcgrid_core.testing.handlers.task", "events": [1]}
        session = rest.post("/v1/sessions", body).json["id"]
        rest.ended(session)
        yield Read(rest, f"/v1/sessions/{session}", server.process.pid)


def _flow_run(folder: Path) -> Iterator[Read]:
    port = _free_port()
    told = {"PREFECT_HOME": str(folder), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    command = ["python", "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "warning", "--no-access-log"]
    with _server(PREFECT, command, told, folder) as process:
        rest = Rest(f"http://127.0.0.1:{port}")
        _started(process, lambda: rest.get("/api/health"), folder)
        flow = rest.post("/api/flows/", {"name": "book"}).json["id"]
        # While it fills its database at the start, it is not available for writes.
        run = _started(process, lambda: rest.post("/api/flow_runs/", {"flow_id": flow}), folder).json["id"]
        yield Read(rest, f"/api/flow_runs/{run}", process.pid)


def _dag_run(folder: Path) -> Iterator[Read]:
    port = _free_port()
    (folder / "dags").mkdir()
    (folder / "dags" / "book.py").write_text(DAG)
    (folder / "passwords.json").write_text(json.dumps({"admin": "admin"}))
    settings = {
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__DAGS_FOLDER": str(folder / "dags"),
        "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
        "API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "API__SECRET_KEY": secrets.token_hex(16),
        "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
        "USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    told = {"AIRFLOW_HOME": str(folder), **{f"AIRFLOW__{name}": value for name, value in settings.items()}}
    for command in (["airflow", "db", "migrate"], ["airflow", "dags", "reserialize"]):
        with _server(AIRFLOW, command, told, folder) as process:
            assert process.wait(START_SECONDS) == 0, _tail(folder)
    command = ["airflow", "api-server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with _server(AIRFLOW, command, told, folder) as process:
        rest = Rest(f"http://127.0.0.1:{port}")
        _started(process, lambda: rest.get("/api/v2/version"), folder)
        rest.token = rest.post("/auth/token", {"username": "admin", "password": "admin"}).json["access_token"]
        run = rest.post("/api/v2/dags/book/dagRuns", {"dag_run_id": "once", "logical_date": None})
        assert run.status == 200, run.body
        yield Read(rest, "/api/v2/dags/book/dagRuns/once", process.pid)


@contextmanager
def _server(
    environment: Path, command: list[str], told: Mapping[str, str], folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A program of an environment, while the block runs; what it prints goes to a file."""
    left_out = ("AIRFLOW_", "PREFECT_", "HTCGRID_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    path = os.pathsep.join((str(environment / "bin"), kept.get("PATH", "")))
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [environment / "bin" / command[0], *command[1:]],
            env={**kept, **told, "PATH": path},
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _started(process: subprocess.Popen[bytes], ask: Callable[[], Answer], folder: Path) -> Answer:
    """The first success."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        with suppress(OSError):
            answer = ask()
            if answer.status < 300:
                return answer
        assert process.poll() is None, _tail(folder)
        assert time.monotonic() < deadline, _tail(folder)
        time.sleep(0.1)


def _tail(folder: Path) -> str:
    return (folder / "log").read_text(errors="replace")[-4000:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
