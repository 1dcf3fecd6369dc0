"""One chaos run: sessions of all shapes, some cancelled, some submitted by processes that are killed."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from htcgrid_core import Grid, GridUnavailable
from tests.chaos.audience import Audience, notify_of
from tests.chaos.chaos_monkey import ChaosMonkey
from tests.chaos.handlers import work
from tests.chaos.observer import ALWAYS_POSSIBLE, Observed
from tests.chaos.submitter import PADDING, RETRY
from tests.chaos.vectors import events
from tests.e2e.support import GUARD_SECONDS, REPOSITORY, eventually, is_alive
from tests.planes import plane_of

T = TypeVar("T")

SETTLE_SECONDS = 120.0  # a guard against waiting for ever, once nobody is disturbed any more
KILLED_SUBMITS = 3
SMALL = (1, 2, 4)


@dataclass(frozen=True)
class Shape:
    """How much of what.

    Attributes:
        sizes: of sessions, in tasks.
        live: sessions at a time.
        submitted: tasks of a session whose submitter is killed.
        kill_after_seconds: how long a submitter lives, at least and at most.
        look_seconds: between looks at the sessions.
        small: chance, at each look, of a session of a few tasks more, whose end is told.
    """

    sizes: tuple[int, ...] = (1, 7, 300, 1500)
    live: int = 3
    submitted: int = 2500
    kill_after_seconds: tuple[float, float] = (0.3, 1.0)
    look_seconds: float = 0.1
    small: float = 0.2


@dataclass
class Run:
    """One chaos run.

    Attributes:
        keep_agents: what brings agents, as clients that wait or whoever scales them do.
        told: those who are told of the ends.
        environment: of submitters.
    """

    url: str
    grid: Grid
    rng: random.Random
    trace: Path
    keep_agents: Callable[[], None]
    told: Audience
    shape: Shape = Shape()
    environment: Mapping[str, str] | None = None
    sessions: list[Observed] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)

    def disturb(self, monkey: ChaosMonkey, seconds: float) -> None:
        """Submit, cancel and kill submitters while somebody disturbs the agents."""
        began = time.monotonic()
        with monkey:
            self.submit_and_kill()
            while time.monotonic() - began < seconds:
                if self.keep_going() < self.shape.live:
                    self.submit()
                elif self.rng.random() < 0.01:
                    self.cancel_one()
                if self.rng.random() < self.shape.small:
                    self.submit(self.rng.choice(SMALL))
                if self.rng.random() < 0.02 and self.done["submitter killed"] < seconds / 5:
                    self.submit_and_kill()
                time.sleep(self.shape.look_seconds)
        print(dict(monkey.done), dict(self.done))

    def settle(self) -> None:
        """Wait for the end of all sessions."""
        settled_by = time.monotonic() + SETTLE_SECONDS
        while left := self.keep_going():
            assert time.monotonic() < settled_by, f"{left} sessions do not end:\n{self._unfinished()}"
            time.sleep(self.shape.look_seconds)

    def submit(self, size: int | None = None) -> None:
        """A session of a random size and shape, under a token, since the grid may not answer."""
        seed, size = self.rng.randrange(1 << 30), size or self.rng.choice(self.shape.sizes)
        vector = list(events(seed, size, str(self.trace)))
        session = self._persist(
            partial(
                self.grid.submit,
                self.rng.choice(["tests.chaos.handlers.work", work]),  # type: ignore[arg-type]  # by name, as a callable
                vector,
                token=f"submit-{seed}",
                labels={"token": f"submit-{seed}"},
                notify=notify_of(f"submit-{seed}"),
                retry=RETRY,
                bundle_size=self.rng.choice([None, None, 1, 16, 256]),
                priority=self.rng.choice(["high", "normal", "low"]),
            )
        )
        self.sessions.append(Observed(self.grid, session, vector))
        self.done["submit"] += 1

    def submit_and_kill(self) -> None:
        """A session whose submitter is killed again and again, until one of its successors is done."""
        seed, size = self.rng.randrange(1 << 30), self.shape.submitted
        token = f"token-{seed}"
        command = [
            sys.executable,
            "-m",
            "tests.chaos.submitter",
            self.url,
            token,
            str(seed),
            str(size),
            str(self.trace),
        ]
        ids: set[str] = set()
        lives: list[float | None] = [self.rng.uniform(*self.shape.kill_after_seconds) for _ in range(KILLED_SUBMITS)]
        while lives or not ids:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=REPOSITORY, env=self.environment, text=True
            )
            try:
                out, said = process.communicate(timeout=lives.pop(0) if lives else GUARD_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                out, said = process.communicate()
                self.done["submitter killed"] += 1
            if process.returncode == 0:
                ids.add(out.strip())
            elif process.returncode > 0:
                assert "GridUnavailable" in said, said
                self.done["submitter told to try again"] += 1
            self.keep_going()
        (session_id,) = ids
        vector = list(events(seed, size, str(self.trace), padding=PADDING))
        session = self._persist(lambda: self.grid.session(session_id))
        self.sessions.append(Observed(self.grid, session, vector))

    def cancel_one(self) -> None:
        """Cancel a session that runs."""
        live = [observed for observed in self.sessions if not self._persist(observed.session.done)]
        if live:
            victim = self.rng.choice(live).session
            self._persist(lambda: victim.cancel("chaos"))
            self.done["cancel"] += 1

    def keep_going(self) -> int:
        """What clients that wait do: look, and bring agents; how many sessions have not ended."""
        try:
            self.keep_agents()
        except GridUnavailable:
            self.done["agent killed as it started"] += 1
        live = [observed for observed in self.sessions if not observed.is_over]
        return sum(not self._persist(observed.look) for observed in live)

    def assert_promises(self) -> None:
        """S1 to S3, S5, S11 and S13 for every session; agents do what agents do."""
        for observed in self.sessions:
            observed.look()
            observed.assert_promises()
        self.told.settle(plane_of(self.grid))
        self.told.assert_told([observed.session for observed in self.sessions])
        # Zombies that woke up have let go of what is not theirs.
        session = self.grid.submit("tests.e2e.handlers.double", range(200))
        assert list(session.results()) == [2 * n for n in range(200)]

    def assert_executions_agree(self, *, at_least: int, workers: int) -> None:
        """Each visible result is that of one execution; others there were, and they left no mark.

        Args:
            at_least: results, or there was not enough to see anything.
            workers: of all agents that run now.
        """
        executions: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
        lines = [line.split() for line in self.trace.read_text().splitlines()]
        for _, session_id, number, _, nonce in lines:
            executions[session_id, int(number)].add(nonce)
        visible = lost = 0
        for observed in self.sessions:
            for index, task in observed.seen.items():
                if task.error is not None:
                    lost += task.error.type == ALWAYS_POSSIBLE
                else:
                    visible += 1
                    assert task.result[2] in executions[observed.session.id, index]
        print(f"{len(self.sessions)} sessions, {visible} results, {len(lines)} executions, {lost} lost with agents")
        assert visible > at_least, "too few tasks"
        assert lost < 0.02 * visible
        pids = {int(line[0]) for line in lines}
        eventually(lambda: sum(map(is_alive, pids)) <= workers, "the workers of dead agents are dead")

    def _persist(self, call: Callable[[], T]) -> T:
        """What a client does that is told to try again."""
        give_up_at = time.monotonic() + GUARD_SECONDS
        while True:
            try:
                return call()
            except GridUnavailable:
                assert time.monotonic() < give_up_at, "the grid cannot be reached at all"
                self.done["client told to try again"] += 1

    def _unfinished(self) -> str:
        """What to look at when sessions do not end."""
        plane, now = plane_of(self.grid), time.time()
        lines = [f"it is {now}, agents are {plane.store.agents(now)}"]
        for observed in self.sessions:
            if not observed.session.done():
                lines.append(str(observed.session.progress()))
                lines += [f"  {found}" for found in plane.store.open_bundles(observed.session.id, "", 100)]
        return "\n".join(lines)
