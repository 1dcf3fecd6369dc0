"""AWS's clients with several invocations in one environment: Python's forks processes, Node's begins threads."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Grid, InvalidInput, RetryPolicy, Session, connect
from tests.e2e.support import ended, eventually, fresh_grid
from tests.runtimes.conftest import AWS_LAMBDA_RIC, EVERY, FUNCTIONS, NPM

ONCE = RetryPolicy(max_attempts=1)
CLIENTS: list[Any] = ["awslambdaric"]
if len(EVERY) > 1 and any(getattr(each, "values", (None,))[0] is AWS_LAMBDA_RIC for each in EVERY):
    CLIENTS.append(pytest.param("aws-lambda-ric", marks=pytest.mark.slow))


@dataclass(frozen=True)
class Concurrent:
    """A grid of two slots that share environments of function ``app``."""

    grid: Grid
    client: str


@pytest.fixture(scope="module", params=CLIENTS)
def concurrent(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Concurrent]:
    """Each client's."""
    client: str = request.param
    folder, options = FUNCTIONS / "python", dict[str, Any](runtime_client=True)
    if client != "awslambdaric":
        folder, options = tmp_path_factory.mktemp("npm") / "package", {"runtime": "provided.al2023"}
        shutil.copytree(FUNCTIONS / "npm", folder)
        shutil.copytree(NPM / "aws-lambda-ric", folder / "node_modules" / "aws-lambda-ric")
    with fresh_grid(tmp_path_factory.mktemp("grid")) as url, connect(url) as grid:
        for name in ("app", "broken_import"):
            grid.deploy(name, folder, handler=f"{name}.handler", concurrency=2, **options)
        yield Concurrent(grid, client)


def submitted(at: Concurrent, events: list[Any], **options: Any) -> Session:
    return at.grid.submit("app", events, retry=ONCE, bundle_size=1, **options)


def together(at: Concurrent, folder: Path, count: int = 2, **options: Any) -> list[int]:
    """Where tasks ran that waited for each other."""
    folder.mkdir()
    session = submitted(
        at, [{"how": "meet", "n": n, "count": count, "folder": str(folder)} for n in range(count)], **options
    )
    now = ended(session)
    assert now.completed == count
    return list(session.results())


def test_slots_share_an_environment(concurrent: Concurrent, tmp_path: Path) -> None:
    first, second = together(concurrent, tmp_path / "met")
    assert first == second
    if concurrent.client == "awslambdaric":
        assert len({path.name.rpartition("-")[2] for path in (tmp_path / "met").iterdir()}) == 2, "processes of its own"


def test_tenants_do_not(concurrent: Concurrent, tmp_path: Path) -> None:
    folder = tmp_path / "met"
    folder.mkdir()
    sessions = [
        submitted(concurrent, [{"how": "meet", "n": tenant, "count": 2, "folder": str(folder)}], tenant=tenant)
        for tenant in ("rates", "fx")
    ]
    for session in sessions:
        ended(session)
    assert len({result for session in sessions for result in session.results()}) == 2


@pytest.mark.parametrize(
    ("how", "kind"), [("exit_hard", "WorkerCrashed"), ("kill_self", "WorkerCrashed"), ("sleep", "TaskTimeout")]
)
def test_what_ends_the_environment_is_charged_alone(
    concurrent: Concurrent, tmp_path: Path, how: str, kind: str
) -> None:
    """The task beside it runs again, and no attempt of it is counted: it had but one."""
    if how == "exit_hard" and concurrent.client == "aws-lambda-ric":
        pytest.skip("in Node that ends a thread, which only the time limit tells")
    folder = tmp_path / "met"
    folder.mkdir()
    # It waits for another one like it, which it is itself once it runs again.
    beside = submitted(concurrent, [{"how": "meet", "n": 0, "count": 2, "folder": str(folder)}])
    eventually(lambda: any(folder.iterdir()), "it runs")
    bad = submitted(concurrent, [{"how": how}], task_timeout=1 if how == "sleep" else None)
    assert ended(bad).failed == 1
    (task,) = bad.tasks()
    assert task.error is not None
    assert (task.error.type, task.attempts) == (kind, 1)
    assert ended(beside).completed == 1
    assert [each.attempts for each in beside.tasks()] == [1]
    assert len(list(folder.iterdir())) == 2


def test_a_function_that_cannot_be_loaded(concurrent: Concurrent) -> None:
    session = concurrent.grid.submit("broken_import", [1, 2, 3], retry=ONCE)
    assert ended(session).failed == 3
    for task in session.tasks():
        assert task.error is not None
        assert task.error.type == "InitError"
        assert "no_such_module_anywhere" in task.error.message


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "a native worker runs one task at a time"),
        ({"runtime_client": True, "isolation": "task"}, "concurrency has no meaning"),
        ({"runtime_client": True, "concurrency": 0}, "concurrency"),
        ({"runtime_client": True, "concurrency": 65}, "concurrency"),
    ],
)
def test_who_cannot_have_it(concurrent: Concurrent, options: dict[str, Any], said: str) -> None:
    asked = {"handler": "app.handler", "concurrency": 2, **options}
    with pytest.raises(InvalidInput, match=said):
        concurrent.grid.deploy("other", FUNCTIONS / "python", **asked)
