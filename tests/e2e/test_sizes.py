"""Pools of sized slots on one machine: what is too large is refused or moved, and what tasks used is known."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from htcgrid_core import Grid, InvalidInput, OutOfMemory, RetryPolicy, SessionFailed, connect
from htcgrid_core.local.agent_processes import agents_of
from htcgrid_core.services.recommending import Recommendation, recommend, together
from tests.e2e.command_line import CommandLine
from tests.e2e.support import GUARD_SECONDS, directory_of, ended, eventually, fresh_grid
from tests.planes import plane_of

SMALL, LARGE, NEEDED = 512, 2048, 900  # MiB
FUNCTION = """
def handler(event, context):
    held = bytearray(event << 20)
    held[::4096] = bytes(len(held[::4096])).replace(bytes(1), b"1")
    return [len(held) >> 20, context.memory_limit_in_mb]
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A grid with two pools, whose agents tell every second what they have measured."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HTCGRID_LEASE_SECONDS", "6")
        pools = f"default:{SMALL},large:{LARGE}"
        with fresh_grid(tmp_path_factory.mktemp("sizes") / "grid", slots=1, pools=pools) as url:
            yield url


@pytest.fixture(scope="module")
def grid(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    folder = tmp_path_factory.mktemp("hungry")
    (folder / "app.py").write_text(FUNCTION)
    with connect(url) as grid:
        grid.deploy("hungry", folder, handler="app.handler")
        yield grid


@pytest.fixture
def cli(url: str, tmp_path: Path) -> CommandLine:
    return CommandLine.in_folder(tmp_path / "work", url)


def known(grid: Grid, name: str, tasks: int) -> Recommendation:
    """What is recommended once so many tasks of a function were measured."""
    plane = plane_of(grid)

    def found() -> list[Recommendation]:
        usages = [each for each in together(plane.store.usage(name, now=plane.clock.now())) if each.tasks >= tasks]
        return [recommend(name, usages)] if usages else []

    return eventually(found, f"{tasks} tasks of {name} were measured")[0]


def test_a_task_that_needs_more_is_told_so_and_goes_on_in_the_larger_pool(grid: Grid, cli: CommandLine) -> None:
    """The whole story: 900 MiB in slots of 512."""
    session = grid.submit("hungry", [NEEDED], retry=1)
    with pytest.raises(SessionFailed):
        list(session.results())
    (failure,) = session.results(errors="return")
    assert isinstance(failure, OutOfMemory)
    assert isinstance(failure, MemoryError)
    told = failure.error.message
    assert re.search(rf"needed more than the {SMALL} MiB that it had, of which \d+ were in use at most", told), told
    first = known(grid, "hungry:1", 1)
    assert first.usage is not None
    assert (first.usage.out_of_memory, first.usage.too_little_mb, first.memory_mb) == (1, SMALL, 2 * SMALL)
    assert "none is known to have had more" in first.why

    session = grid.submit("hungry", [NEEDED, 20, 30], retry=RetryPolicy(max_attempts=1, on_out_of_memory="large"))
    assert ended(session).completed == 3
    values = list(session.results())
    assert [value[0] for value in values] == [NEEDED, 20, 30]
    assert [value[1] for value in values] == [str(LARGE), str(SMALL), str(SMALL)]
    tasks = sorted(session.tasks(), key=lambda task: task.index)
    assert [task.attempts for task in tasks] == [2, 1, 1]
    pools = {agent.agent_id: agent.pool for agent in grid.gateway.agents()}
    assert [pools[task.agent] for task in tasks] == ["large", "default", "default"]

    second = known(grid, "hungry:1", 5)
    assert second.usage is not None
    assert second.memory_mb is not None
    assert NEEDED <= second.usage.peak_mb < NEEDED + 100
    assert NEEDED * 1.25 <= second.memory_mb <= (NEEDED + 100) * 1.25 + 64
    assert (second.usage.out_of_memory, second.usage.too_little_mb) == (2, SMALL)

    view = cli.call("functions", "recommend", "hungry", "--json").object
    assert (view["function"], view["memory_mb"], view["known"]) == ("hungry:1", second.memory_mb, True)
    assert view["tasks"] >= 5
    view = cli.call("functions", "recommend", "nobody", "--json").object
    assert (view["memory_mb"], view["cpus"], view["known"]) == (None, None, False)
    assert view["why"] == "no task of it was measured"
    assert "unknown" in cli.call("functions", "recommend", "nobody").out
    assert "hungry:1" in cli.call("functions", "recommend").out


def test_what_a_slot_cannot_hold_is_refused_before_anything_is_written(grid: Grid) -> None:
    before = len(list(grid.sessions()))
    for options, wrong in (
        ({"memory_mb": NEEDED}, rf"a slot of pool 'default' has {SMALL} MiB, and each task asks for {NEEDED}.*large"),
        ({"memory_mb": 4096, "pool": "large"}, "no pool is known to have as many MiB"),
        ({"retry": RetryPolicy(on_out_of_memory="huge")}, "serves pool 'huge'; it has default, large"),
        ({"retry": RetryPolicy(on_out_of_memory="default")}, "names the session's own pool"),
        (
            {"pool": "large", "retry": RetryPolicy(on_out_of_memory="default")},
            f"have {SMALL} MiB, and tasks have 2,048",
        ),
    ):
        with pytest.raises(InvalidInput, match=wrong):
            grid.submit("hungry", [1], **options)
    assert len(list(grid.sessions())) == before


def test_pools_that_nobody_needs_have_no_agents(tmp_path: Path) -> None:
    """An agent of the larger pool begins with the first session that may move there."""
    pools = f"default:{SMALL},large:{LARGE}"
    with fresh_grid(tmp_path / "grid", slots=1, pools=pools) as url, connect(url) as grid:
        assert list(grid.map(abs, [-1])) == [1]
        assert {agent.size.pool for agent in agents_of(directory_of(url))} == {"default"}
        session = grid.submit(time.sleep, [GUARD_SECONDS], retry=RetryPolicy(on_out_of_memory="large"))
        assert {agent.size.pool for agent in agents_of(directory_of(url))} == {"default", "large"}
        session.cancel("seen")
