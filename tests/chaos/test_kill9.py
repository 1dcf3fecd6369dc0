"""Agents are killed, stopped and drained, submitters are killed; thousands of tasks; every promise holds.

``HTCGRID_CHAOS_SECONDS`` makes it longer, ``HTCGRID_CHAOS_SEED`` repeats its choices (what the machine makes of
them differs from run to run).
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from htcgrid_core import connect
from htcgrid_core.domain.destination import Destination
from htcgrid_core.local.agent_processes import running_agents
from tests.aws.emulators import Account
from tests.chaos.audience import DESK, MARK, Audience, audience, webhook
from tests.chaos.chaos_monkey import ChaosMonkey
from tests.chaos.reconcilers import Reconciler
from tests.chaos.run import SETTLE_SECONDS, Run
from tests.e2e.support import directory_of, fresh_grid

SECONDS = float(os.environ.get("HTCGRID_CHAOS_SECONDS", "20"))
SEED = int(os.environ.get("HTCGRID_CHAOS_SEED", "20261122"))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Audience]:
    """Step Functions and a webhook; its address is in ``HTCGRID_TEST_DESK``."""
    with audience(SEED) as found, webhook(found.hear, found.trouble) as desk:
        for name, value in Account(found.tasks.url).environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HTCGRID_TEST_DESK", desk)
        yield found


@pytest.fixture
def url(told: Audience, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Three agents, which give up on each other soon."""
    monkeypatch.setenv("HTCGRID_LEASE_SECONDS", "1.5")
    with fresh_grid(tmp_path / "grid", agents=3) as url:
        yield url


@pytest.mark.timeout(SECONDS + SETTLE_SECONDS + 150)
def test_every_promise_holds_while_agents_and_submitters_are_killed(url: str, told: Audience, tmp_path: Path) -> None:
    print(f"HTCGRID_CHAOS_SEED={SEED}")  # shown if it fails
    directory = directory_of(url)
    with connect(url) as grid, Reconciler(url, os.environ) as reconciler:
        desk = Destination(name=DESK, target=os.environ["HTCGRID_TEST_DESK"], may_be_private=True, progress=(MARK,))
        grid.gateway.add_destination(desk)
        victims = lambda: [*running_agents(directory), *reconciler.pids()]  # noqa: E731
        monkey = ChaosMonkey(victims, str(directory.root), SEED)

        def keep() -> None:
            reconciler.keep()
            grid.wake()

        run = Run(url, grid, random.Random(SEED), tmp_path / "trace", keep, told)
        run.disturb(monkey, SECONDS)
        run.settle()
        run.assert_promises()
    run.assert_executions_agree(at_least=1000, workers=6)
    assert reconciler.killed >= 1, "no reconciler was killed"
    assert told.done.total() >= 1, f"too little trouble with those who are told: {told.done}"
    assert min(monkey.done["kill"], monkey.done["stop"], run.done["submitter killed"]) >= 2, "too little chaos"
