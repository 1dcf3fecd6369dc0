"""Unmodified runtime clients that nobody of ours started, on the fixed port of a real agent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from htcgrid_core import Grid, RetryPolicy, connect
from tests.e2e.support import ended, eventually, fresh_grid
from tests.planes import plane_of
from tests.runtimes.conftest import FUNCTIONS

PROGRAM = str(Path(sys.executable).with_name("htcgrid"))
AWSLAMBDARIC = (sys.executable, "-m", "awslambdaric", "app.handler")
TASKS, BAD = 12, 5


@dataclass
class Pod:
    """An agent with one port for function ``app``, and the container beside it, which the test starts as a kubelet."""

    grid: Grid
    port: int
    agent: subprocess.Popen[bytes]
    folder: Path
    containers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, language: str = "python") -> subprocess.Popen[bytes]:
        """Start the container."""
        folder = FUNCTIONS / language
        with open(self.folder / "sidecar.log", "ab") as log:
            container = subprocess.Popen(
                AWSLAMBDARIC if language == "python" else ["sh", str(folder / "bootstrap")],
                cwd=folder,
                env={
                    "PATH": os.environ["PATH"],
                    "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.port}",
                    "AWS_LAMBDA_FUNCTION_NAME": "app",
                    "AWS_LAMBDA_FUNCTION_VERSION": "1",
                    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
                    "DESK": "rates",
                    "_HANDLER": "app.handler",
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.containers.append(container)
        return container

    def kill(self) -> None:
        """Kill the container, as running out of memory does."""
        os.killpg(self.containers[-1].pid, signal.SIGKILL)
        self.containers[-1].wait()

    def problem(self) -> str:
        """Why the agent takes no tasks, as it last said."""
        return "; ".join(agent.problem for agent in plane_of(self.grid).store.agents(time.time()))

    def runs_a_task(self, session_id: str) -> bool:
        """Whether some task of a session runs."""
        return any(task.state == "RUNNING" for task in self.grid.session(session_id).tasks())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pod]:
    monkeypatch.setenv("HTCGRID_LEASE_SECONDS", "3")
    port = free_port()
    with fresh_grid(tmp_path / "grid") as several, connect(url := several.replace("slots=2", "slots=1")) as grid:
        assert url != several, "who asks for more slots than the agent has would start another one"
        grid.deploy("app", FUNCTIONS / "python", handler="app.handler")
        command = [PROGRAM, "agent", "--url", url, "--sidecar", f"app={port}"]
        agent = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        pod = Pod(grid, port, agent, tmp_path)
        try:
            eventually(pod.problem, "it serves the port")
            yield pod
        finally:
            for container in pod.containers:
                if container.poll() is None:
                    os.killpg(container.pid, signal.SIGKILL)
                container.wait()
            agent.terminate()
            try:
                assert agent.wait(timeout=20) == 0, "it drains"
            finally:
                agent.kill()


@pytest.mark.slow
@pytest.mark.parametrize("language", ["python", "shell"])
def test_no_task_is_taken_until_it_is_there(pod: Pod, language: str) -> None:
    session = pod.grid.submit("app", [{"n": n} for n in range(TASKS)])
    assert pod.problem() == f"no sidecar of app asks for tasks on 127.0.0.1:{pod.port}"
    assert not pod.runs_a_task(session.id)
    pod.start(language)
    assert ended(session).state == "COMPLETED"
    assert list(session.results()) == [{"n": n} for n in range(TASKS)]
    assert {task.attempts for task in session.tasks()} == {1}
    eventually(lambda: not pod.problem(), "nothing is wrong any more")


@pytest.mark.parametrize("language", ["python", "shell"])
def test_killed_in_the_middle_of_a_task(pod: Pod, tmp_path: Path, language: str) -> None:
    """Its task runs again in the next one, and no other is charged."""
    pod.start(language)
    begun = tmp_path / "begun"
    bad = {"n": BAD, "how": "sleep_with_child", "file": str(begun)}
    events = [bad if n == BAD else {"n": n} for n in range(TASKS)]
    retry = RetryPolicy(max_attempts=2, backoff_base_seconds=0)
    session = pod.grid.submit("app", events, retry=retry, bundle_size=TASKS)
    for _ in range(2):
        eventually(begun.exists, "the bad one runs")
        pod.kill()
        begun.unlink()
        pod.start(language)
    now = ended(session)
    assert (now.completed, now.failed) == (TASKS - 1, 1)
    for task in session.tasks():
        assert task.attempts == (2 if task.index == BAD else 1)
        assert task.error is None or task.error.type == "WorkerCrashed"


def test_over_its_time(pod: Pod) -> None:
    """The agent does not kill it; what restarts containers does, and until then it is given nothing."""
    pod.start()
    eventually(lambda: not pod.problem(), "it is there")
    events = [{"n": n, "how": "sleep"} if n == BAD else {"n": n} for n in range(TASKS)]
    once = RetryPolicy(max_attempts=1)
    session = pod.grid.submit("app", events, task_timeout=0.5, retry=once, bundle_size=TASKS)
    eventually(lambda: f"127.0.0.1:{pod.port}" in pod.problem(), "it is lost")
    assert pod.containers[0].poll() is None
    pod.kill()
    pod.start()
    now = ended(session)
    assert (now.completed, now.failed) == (TASKS - 1, 1)
    failed = next(session.tasks(state="FAILED"))
    assert failed.error is not None
    assert (failed.index, failed.error.type) == (BAD, "TaskTimeout")
    assert failed.error.message == "Task timed out after 0.5 seconds"


@pytest.mark.slow
def test_a_handlers_errors_are_its_own(pod: Pod) -> None:
    pod.start()
    session = pod.grid.submit("app", [{"n": 1, "how": "raise"}, {"n": 2}], retry=RetryPolicy(max_attempts=1))
    ended(session)
    failed = next(session.tasks(state="FAILED"))
    assert failed.error is not None
    assert (failed.error.type, failed.error.message) == ("ValueError", "no price for desk 1")
    assert failed.error.traceback.startswith("Traceback (most recent call last):")
    told = pod.grid.submit("app", [{"how": "tell"}])
    ended(told)
    assert next(iter(told.results()))["request_id"] == f"{told.id}/0/1"
