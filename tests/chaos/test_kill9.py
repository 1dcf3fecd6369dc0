"""Agents are killed, stopped and drained, submitters are killed; thousands of tasks; every promise holds.

``HTCGRID_CHAOS_SECONDS`` makes it longer, ``HTCGRID_CHAOS_SEED`` repeats its choices (what the machine makes of
them differs from run to run).
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from htcgrid_core import connect
from htcgrid_core.local.agent_processes import running_agents
from tests.chaos.chaos_monkey import ChaosMonkey
from tests.chaos.run import SETTLE_SECONDS, Run
from tests.e2e.support import directory_of, fresh_grid

SECONDS = float(os.environ.get("HTCGRID_CHAOS_SECONDS", "20"))
SEED = int(os.environ.get("HTCGRID_CHAOS_SEED", "20261122"))


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Three agents, which give up on each other soon."""
    monkeypatch.setenv("HTCGRID_LEASE_SECONDS", "1.5")
    with fresh_grid(tmp_path / "grid", agents=3) as url:
        yield url


@pytest.mark.timeout(SECONDS + SETTLE_SECONDS + 150)
def test_every_promise_holds_while_agents_and_submitters_are_killed(url: str, tmp_path: Path) -> None:
    print(f"HTCGRID_CHAOS_SEED={SEED}")  # shown if it fails
    directory = directory_of(url)
    monkey = ChaosMonkey(partial(running_agents, directory), str(directory.root), SEED)
    with connect(url) as grid:
        run = Run(url, grid, random.Random(SEED), tmp_path / "trace", grid.wake)
        run.disturb(monkey, SECONDS)
        run.settle()
        run.assert_promises()
    run.assert_executions_agree(at_least=1000, workers=6)
    assert min(monkey.done["kill"], monkey.done["stop"], run.done["submitter killed"]) >= 2, "too little chaos"
