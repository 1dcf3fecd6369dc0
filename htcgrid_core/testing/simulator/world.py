"""Virtual time and the actors in it, each a greenlet that runs ordinary code until it waits.

Whoever wakes first in virtual time runs next, ties broken by the seed; so one seed is one history.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import greenlet


class Crash(BaseException):
    """The process of an actor dies: not an Exception, so that nothing handles it."""


@dataclass(slots=True, eq=False)
class Actor:
    """One simulated process."""

    name: str
    thread: Any = None
    wake_number: int = 0  # of its latest wait: older entries of the agenda are void
    rung: bool = False
    is_waiting_for_ring: bool = False
    is_doomed: bool = False  # its process is gone: it crashes when it would go on


@dataclass
class World:
    """The agenda, the clock and the history of one run."""

    seed: int
    rng: random.Random = field(init=False)
    now: float = 1_000_000.0
    history: list[str] = field(default_factory=list)
    after_step: Callable[[], None] = lambda: None
    _agenda: list[tuple[float, float, int, Actor, int]] = field(default_factory=list)
    _count: int = 0
    _current: Actor | None = None
    _failure: BaseException | None = None

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self._main = greenlet.getcurrent()

    @property
    def current(self) -> Actor:
        """The actor that runs now."""
        assert self._current is not None, "only actors wait"
        return self._current

    def spawn(self, name: str, run: Callable[[], object], delay_seconds: float = 0.0) -> Actor:
        """Start an actor; it ends with ``run``, or with the Crash that it raises."""
        actor = Actor(name)

        def body() -> None:
            try:
                run()
            except (Crash, greenlet.GreenletExit):
                self.note(actor.name, "crashed")
            except BaseException as error:  # noqa: BLE001 - raised again by run, in the caller's stack
                self._failure = error

        actor.thread = greenlet.greenlet(body, parent=self._main)  # whoever spawned it is not whom it returns to
        self._schedule(actor, self.now + delay_seconds)
        return actor

    def note(self, who: str, what: str) -> None:
        """Add a line to the history."""
        self.history.append(f"{self.now - 1_000_000.0:10.4f} {who}: {what}")

    def pause(self, seconds: float) -> None:
        """The current actor does nothing for so long, whatever rings."""
        actor = self.current
        actor.is_waiting_for_ring = False
        self._schedule(actor, self.now + max(0.0, seconds))
        self._main.switch()
        if actor.is_doomed:
            raise Crash

    def wait(self, until: float) -> bool:
        """The current actor waits for a ring or a time; True if it was rung."""
        actor = self.current
        if not actor.rung:
            actor.is_waiting_for_ring = True
            self._schedule(actor, max(self.now, until))
            self._main.switch()
            actor.is_waiting_for_ring = False
        rung, actor.rung = actor.rung, False
        return rung

    def ring(self, actor: Actor) -> None:
        """Wake an actor that waits, or will."""
        actor.rung = True
        if actor.is_waiting_for_ring:
            self._schedule(actor, self.now + self.rng.uniform(0.0, 0.001))

    def run(self, until: float, done: Callable[[], bool] = lambda: False) -> None:
        """Let actors run until a time, or until ``done``.

        Raises:
            BaseException: what an actor or a check after a step raised.
        """
        self._main = greenlet.getcurrent()
        while self._agenda and self._agenda[0][0] <= until and not done():
            at, _, _, actor, number = heapq.heappop(self._agenda)
            if number != actor.wake_number or actor.thread.dead:
                continue
            self.now = max(self.now, at)
            self._current = actor
            actor.thread.switch()
            self._current = None
            if self._failure is not None:
                raise self._failure
            self.after_step()
        if not done():
            self.now = max(self.now, until)

    def close(self) -> None:
        """End every actor."""
        for *_, actor, _ in self._agenda:
            if not actor.thread.dead:
                actor.thread.throw(greenlet.GreenletExit)

    def _schedule(self, actor: Actor, at: float) -> None:
        actor.wake_number += 1
        self._count += 1
        heapq.heappush(self._agenda, (at, self.rng.random(), self._count, actor, actor.wake_number))


class VirtualClock:
    """An actor's view of the time; its wall clock may be off."""

    def __init__(self, world: World, skew_seconds: float = 0.0) -> None:
        self._world = world
        self.skew_seconds = skew_seconds

    def now(self) -> float:
        """Seconds since the epoch, as this actor believes."""
        return self._world.now + self.skew_seconds

    def monotonic(self) -> float:
        """Virtual seconds."""
        return self._world.now

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass."""
        self._world.pause(seconds)
