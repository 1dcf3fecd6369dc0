"""Concurrency limits of tags hold on the grid, as with threads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, tags, task
from prefect.client.orchestration import get_client
from prefect.task_runners import ThreadPoolTaskRunner

from htcgrid_prefect import HTCGridTaskRunner
from htcgrid_prefect.flow.concurrency_limits import limits_of
from tests.e2e.support import eventually

TAG = "one-at-a-time"


@pytest.fixture
def limit() -> Iterator[str]:
    """A tag of which one task run may run at a time."""
    with get_client(sync_client=True) as client:
        client.create_concurrency_limit(tag=TAG, concurrency_limit=1)
        yield TAG
        client.delete_concurrency_limit_by_tag(TAG)


@task(tags=[TAG])
def alone(folder: str, number: int) -> bool:
    """Whether another one ran meanwhile."""
    marker = Path(folder) / str(number)
    marker.touch()
    time.sleep(0.05)
    found = len(list(Path(folder).iterdir())) == 1
    marker.unlink()
    return found


@task
def together(folder: str, number: int) -> bool:
    """Wait until all four have begun."""
    (Path(folder) / str(number)).touch()
    deadline = time.monotonic() + 60
    while len(list(Path(folder).iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    return len(list(Path(folder).iterdir())) >= 2


@pytest.mark.parametrize("engine", ["threads", "prefect", "grid"])
def test_a_limited_tag(shared_grid_url: str, tmp_path: Path, limit: str, engine: Any) -> None:
    runner: Any = ThreadPoolTaskRunner() if engine == "threads" else HTCGridTaskRunner(shared_grid_url, engine=engine)

    @flow(task_runner=runner)
    def limited() -> list[bool]:
        return [*alone.map([str(tmp_path)] * 3, range(3)).result(), alone.submit(str(tmp_path), 3).result()]

    assert limited() == [True] * 4
    with get_client(sync_client=True) as client:
        eventually(
            lambda: client.read_global_concurrency_limit_by_name(f"tag:{limit}").active_slots == 0,
            "every slot is given back",
        )


def test_other_tags_wait_for_nobody(shared_grid_url: str, tmp_path: Path, limit: str) -> None:
    @flow(task_runner=HTCGridTaskRunner(shared_grid_url))
    def unlimited() -> list[bool]:
        with tags("another"):
            return list(together.map([str(tmp_path)] * 2, range(2)).result())

    assert unlimited() == [True, True]
    assert limits_of(["another", limit]) == (f"tag:{limit}",)
