"""Agents are killed, stopped and drained, submitters are killed; thousands of tasks; every promise holds.

``HTCGRID_CHAOS_SECONDS`` makes it longer, ``HTCGRID_CHAOS_SEED`` repeats its choices (what the machine makes of
them differs from run to run).
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from htcgrid_core import Grid, GridUnavailable, connect
from tests.chaos.handlers import work
from tests.chaos.observer import ALWAYS_POSSIBLE, Observed
from tests.chaos.submitter import PADDING, RETRY
from tests.chaos.tormentor import Tormentor
from tests.chaos.vectors import events
from tests.e2e.support import REPOSITORY, directory_of, eventually, fresh_grid, is_alive

SECONDS = float(os.environ.get("HTCGRID_CHAOS_SECONDS", "20"))
SEED = int(os.environ.get("HTCGRID_CHAOS_SEED", "20261122"))
SETTLE_SECONDS = 120.0  # a guard against waiting for ever, once nobody is tormented any more
LIVE_SESSIONS = 3
KILLED_SUBMITS = 3


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Three agents, which give up on each other soon."""
    monkeypatch.setenv("HTCGRID_LEASE_SECONDS", "1.5")
    with fresh_grid(tmp_path / "grid", agents=3) as url:
        yield url


@dataclass
class Run:
    """One chaos run."""

    url: str
    grid: Grid
    rng: random.Random
    trace: str
    sessions: list[Observed] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)

    def submit(self) -> None:
        """A session of a random size and shape."""
        seed, size = self.rng.randrange(1 << 30), self.rng.choice([1, 7, 300, 1500])
        vector = list(events(seed, size, self.trace))
        session = self.grid.submit(
            self.rng.choice(["tests.chaos.handlers.work", work]),  # type: ignore[arg-type]  # by name or as a callable
            vector,
            retry=RETRY,
            bundle_size=self.rng.choice([None, None, 1, 16, 256]),
            priority=self.rng.choice(["high", "normal", "low"]),
        )
        self.sessions.append(Observed(self.grid, session, vector))
        self.done["submit"] += 1

    def submit_and_kill(self) -> None:
        """A session whose submitter is killed again and again, until one of its successors is done."""
        seed, size = self.rng.randrange(1 << 30), 2500
        token = f"token-{seed}"
        command = [sys.executable, "-m", "tests.chaos.submitter", self.url, token, str(seed), str(size), self.trace]
        ids = set()
        for kill_after in [*(self.rng.uniform(0.3, 1.0) for _ in range(KILLED_SUBMITS)), None, None]:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY, text=True)
            try:
                out, _ = process.communicate(timeout=kill_after)
            except subprocess.TimeoutExpired:
                process.kill()
                out, _ = process.communicate()
                self.done["submitter killed"] += 1
            if process.returncode == 0:
                ids.add(out.strip())
            self.keep_going()
        (session_id,) = ids
        vector = list(events(seed, size, self.trace, padding=PADDING))
        self.sessions.append(Observed(self.grid, self.grid.session(session_id), vector))

    def cancel_one(self) -> None:
        """Cancel a session that runs."""
        live = [observed for observed in self.sessions if not observed.session.done()]
        if live:
            self.rng.choice(live).session.cancel("chaos")
            self.done["cancel"] += 1

    def keep_going(self) -> int:
        """What clients that wait do: look, and bring agents; how many sessions have not ended."""
        try:
            self.grid.deployment.wake()
        except GridUnavailable:
            self.done["agent killed as it started"] += 1
        return sum(not observed.look() for observed in self.sessions)


@pytest.mark.timeout(SECONDS + SETTLE_SECONDS + 150)
def test_every_promise_holds_while_agents_and_submitters_are_killed(url: str, tmp_path: Path) -> None:
    print(f"HTCGRID_CHAOS_SEED={SEED}")  # shown if it fails
    trace = tmp_path / "trace"
    with connect(url) as grid:
        run = Run(url, grid, random.Random(SEED), str(trace))
        began = time.monotonic()
        with Tormentor(directory_of(url), SEED) as tormentor:
            run.submit_and_kill()
            while time.monotonic() - began < SECONDS:
                if run.keep_going() < LIVE_SESSIONS:
                    run.submit()
                elif run.rng.random() < 0.01:
                    run.cancel_one()
                if run.rng.random() < 0.02 and run.done["submitter killed"] < SECONDS / 5:
                    run.submit_and_kill()
                time.sleep(0.1)
        print(dict(tormentor.done), dict(run.done))
        settled_by = time.monotonic() + SETTLE_SECONDS
        while left := run.keep_going():
            assert time.monotonic() < settled_by, f"{left} sessions do not end: {unfinished(run)}"
            time.sleep(0.05)
        for observed in run.sessions:
            observed.look()
            observed.assert_promises()
        assert_agents_work(grid)
    assert_executions_agree(run, trace)
    assert min(tormentor.done["kill"], tormentor.done["stop"], run.done["submitter killed"]) >= 2, "too little chaos"


def unfinished(run: Run) -> list[object]:
    """What to look at when sessions do not end."""
    return [observed.session.progress() for observed in run.sessions if not observed.session.done()]


def assert_agents_work(grid: Grid) -> None:
    """Zombies that woke up have let go of what is not theirs, and do what agents do."""
    session = grid.submit("tests.e2e.handlers.double", range(200))
    assert list(session.results()) == [2 * n for n in range(200)]


def assert_executions_agree(run: Run, trace: Path) -> None:
    """Each visible result is that of one execution; others there were, and they left no mark."""
    executions: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
    lines = [line.split() for line in trace.read_text().splitlines()]
    for _, session_id, number, _, nonce in lines:
        executions[session_id, int(number)].add(nonce)
    visible = lost = 0
    for observed in run.sessions:
        for index, task in observed.seen.items():
            if task.error is not None:
                lost += task.error.type == ALWAYS_POSSIBLE
            else:
                visible += 1
                assert task.result[2] in executions[observed.session.id, index]
    print(f"{len(run.sessions)} sessions, {visible} results, {len(lines)} executions, {lost} tasks lost with agents")
    assert visible > 1000, "too few tasks"
    assert lost < 0.02 * visible
    pids = {int(line[0]) for line in lines}
    eventually(lambda: sum(map(is_alive, pids)) <= 6, "the workers of dead agents are dead")
