"""What a library keeps in its process is not seen by other sessions, or tasks, that ask for workers of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Grid, InvalidInput, RetryPolicy, connect
from htcgrid_core.domain import agent_version
from htcgrid_core.domain.session import SessionSpec
from tests.e2e.support import ended, fresh_grid
from tests.planes import plane_of

REMEMBER = "tests.e2e.handlers.remember"
TASKS = 12


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    """A grid of one slot, on which sessions run one after another in one worker unless they ask for more."""
    with fresh_grid(tmp_path_factory.mktemp("module") / "grid", slots=1) as url, connect(url) as grid:
        yield grid


def seen(grid: Grid, tag: str, isolation: Any = None, **options: Any) -> list[list[str]]:
    """What each task of a session finds in its process, itself last."""
    session = grid.submit(REMEMBER, [tag] * TASKS, isolation=isolation, **options)
    ended(session)
    return list(session.results())


def test_by_default_sessions_share_workers(one: Grid) -> None:
    seen(one, "first")
    assert seen(one, "second")[0][0] != "second"


def test_a_session_has_workers_that_no_other_has_used_or_will(one: Grid) -> None:
    seen(one, "before")
    assert seen(one, "a", "session")[-1] == ["a"] * TASKS, "one worker for the whole session"
    assert seen(one, "b", "session")[-1] == ["b"] * TASKS
    assert {tag for each in seen(one, "after") for tag in each} == {"after"}


def test_a_task_has_one_that_no_other_has_used_or_will(one: Grid) -> None:
    assert seen(one, "a", "task") == [["a"]] * TASKS
    assert seen(one, "after")[0] == ["after"]


def test_each_attempt_is_a_new_one(one: Grid) -> None:
    again = RetryPolicy(max_attempts=2, backoff_base_seconds=0)
    session = one.submit("tests.e2e.handlers.fail_if_remembered", ["a"] * 3, isolation="task", retry=again)
    assert ended(session).completed == 3
    assert list(session.results()) == [2, 2, 2]


def test_sessions_that_alternate(grid: Grid) -> None:
    """On two slots, in bundles of a task each: whichever worker a task finds is its session's."""
    sessions = [grid.submit(REMEMBER, [f"s{number}"] * 8, isolation="session", bundle_size=1) for number in range(4)]
    for number, session in enumerate(sessions):
        ended(session)
        assert {tag for each in session.results() for tag in each} == {f"s{number}"}


def test_calls_maps_and_executors(one: Grid) -> None:
    def process() -> int:
        return os.getpid()

    def process_of(_: int) -> int:
        return os.getpid()

    assert len(set(one.map(process_of, range(4), isolation="task"))) == 4
    first, second = (set(one.map(process_of, range(4), isolation="session")) for _ in range(2))
    assert not first & second
    with one.executor(isolation="task") as pool:
        assert len({future.result() for future in [pool.submit(process) for _ in range(4)]}) == 4


def test_a_deployed_function_says_what_its_sessions_have(grid: Grid, tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "app.py").write_text("seen = []\ndef handler(event, context):\n  seen.append(event)\n  return seen\n")
    version = grid.deploy("app", package, handler="app.handler", isolation="task")
    assert (version.isolation, version.min_agent_version) == ("task", agent_version.FUNCTION_OPTIONS_AGENT_VERSION)
    assert grid.deploy("app", package, handler="app.handler").version == version.version + 1
    session = grid.submit("app:1", [1, 2, 3])
    ended(session)
    assert session.spec.isolation == "task"
    assert list(session.results()) == [[1], [2], [3]]
    assert grid.submit("app:1", [], isolation="session").spec.isolation == "session"


def test_only_agents_that_obey_run_it(grid: Grid) -> None:
    plain, asking = (grid.submit(REMEMBER, [], isolation=isolation) for isolation in (None, "session"))
    wanted = [agent_version.FIRST_AGENT_VERSION, agent_version.ISOLATION_AGENT_VERSION]
    stored = [plane_of(grid).store.session(session.id, 0.0).spec for session in (plain, asking)]
    assert [SessionSpec.stored(spec).min_agent_version for spec in stored] == wanted
    assert '"isolation"' not in stored[0], "releases before it take no field that they do not know"


def test_what_else_is_asked_for_is_refused(grid: Grid) -> None:
    with pytest.raises(InvalidInput, match="isolation"):
        grid.submit(REMEMBER, [], isolation="process")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="isolation"):
        grid.executor(isolation=True)
