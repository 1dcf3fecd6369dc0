"""Airflow as it runs in production: api-server, scheduler, dag-processor and triggerer, each a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.airflow.system.postgres import metadata_database
from tests.airflow.system.rest import AirflowApi, eventually
from tests.airflow.system.server import REPOSITORY, Server, free_port

AIRFLOW = Path(sys.executable).with_name("airflow")
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
HEALTH = ("metadatabase", "scheduler", "dag_processor", "triggerer")
USERS = ("admin", "viewer")
LEFT_OUT = ("AIRFLOW_", "HTCGRID_", "OTEL_", "PYTEST_", "TRACEPARENT")


class Stack:
    """A running Airflow.

    Attributes:
        home: its AIRFLOW_HOME.
        api: its REST API.
        database: which database it uses.
        env: what each of its processes sees.
    """

    def __init__(self, home: Path, env: Mapping[str, str], database: str) -> None:
        self.home, self.env, self.database = home, dict(env), database
        self.api = AirflowApi(env["AIRFLOW__API__BASE_URL"])
        self._servers: dict[str, Server] = {}
        self._ended: list[Server] = []

    def __getitem__(self, component: str) -> Server:
        return self._servers[component]

    def start(self, component: str, name: str = "", *arguments: str) -> Server:
        """Start a component, under its own or another name."""
        return self.run(name or component, [str(AIRFLOW), component, *arguments])

    def run(self, name: str, command: Sequence[str]) -> Server:
        """Start a program in the place of a component."""
        self._servers[name] = Server(command, self.home / f"{name}.log", self.env, self.home)
        return self._servers[name]

    def forget(self, name: str) -> None:
        """Do not count on a component any more; what it left is ended with the stack."""
        self._ended.append(self._servers.pop(name))

    def stop(self) -> None:
        """End every process."""
        self.api.close()
        for server in (*self._servers.values(), *self._ended):
            server.stop()


@contextlib.contextmanager
def running(home: Path, dags: Path, extra: Mapping[str, str]) -> Iterator[Stack]:
    """A healthy stack; at its end, whatever happened, no process is left."""
    home.mkdir(parents=True, exist_ok=True)
    with metadata_database(home) as url:
        env = {**environment(home, dags, url), **extra}
        migrate = subprocess.run([AIRFLOW, "db", "migrate"], env=env, cwd=home, capture_output=True, text=True)
        assert migrate.returncode == 0, migrate.stdout + migrate.stderr
        (home / "passwords.json").write_text(json.dumps({user: user for user in USERS}))
        stack = Stack(home, env, url.split("+")[0].split(":")[0])
        try:
            for component in COMPONENTS:
                stack.start(component)
            eventually(lambda: stack.api.healthy(*HEALTH), lambda: f"Airflow is healthy\n{tails(stack)}")
            yield stack
        finally:
            stack.stop()


def tails(stack: Stack) -> str:
    """What each component printed last."""
    return "\n".join(f"--- {name}\n{stack[name].tail(15)}" for name in COMPONENTS)


def environment(home: Path, dags: Path, database: str) -> dict[str, str]:
    """Everything Airflow is told; nothing of the caller's own Airflow or grid gets in."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    settings = {
        "CORE": {
            "LOAD_EXAMPLES": "False",
            "DAGS_FOLDER": str(dags),
            "EXECUTOR": "LocalExecutor",
            "PARALLELISM": "8",
            "EXECUTION_API_SERVER_URL": f"{base}/execution/",
            "SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{user}" for user in USERS),
            "SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
            "FERNET_KEY": "",
        },
        "API": {"HOST": "127.0.0.1", "PORT": str(port), "BASE_URL": base, "WORKERS": "1",
                "SECRET_KEY": secrets.token_hex(16)},
        "API_AUTH": {"JWT_SECRET": secrets.token_hex(32)},
        "DATABASE": {"SQL_ALCHEMY_CONN": database},
        "DAG_PROCESSOR": {"REFRESH_INTERVAL": "5", "MIN_FILE_PROCESS_INTERVAL": "30"},
        "LOGGING": {"WORKER_LOG_SERVER_PORT": str(free_port()), "TRIGGER_LOG_SERVER_PORT": str(free_port())},
        # What takes minutes in production takes seconds here.
        "SCHEDULER": {
            "SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "TRIGGER_TIMEOUT_CHECK_INTERVAL": "1",
            "TASK_INSTANCE_HEARTBEAT_SEC": "2",
            "TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
            "TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
            "ORPHANED_TASKS_CHECK_INTERVAL": "5",
        },
        # Of each task's calls: 5 seconds are too few when all examples start at once on a machine that is busy.
        "WORKERS": {"EXECUTION_API_TIMEOUT": "60"},
        "TRIGGERER": {"JOB_HEARTBEAT_SEC": "2", "TRIGGERER_HEALTH_CHECK_THRESHOLD": "10"},
        "USAGE_DATA_COLLECTION": {"ENABLED": "False"},
    }  # fmt: skip
    kept = {name: value for name, value in os.environ.items() if not name.startswith(LEFT_OUT)}
    told = {f"AIRFLOW__{part}__{name}": value for part, given in settings.items() for name, value in given.items()}
    path = os.pathsep.join(map(str, (AIRFLOW.parent, os.environ.get("PATH", ""))))
    return {
        **kept,
        **told,
        "PATH": path,
        "AIRFLOW_HOME": str(home),
        "PYTHONPATH": os.pathsep.join((str(REPOSITORY / "example_dags"), str(REPOSITORY))),
        "MPLBACKEND": "Agg",
        "COLUMNS": "160",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
