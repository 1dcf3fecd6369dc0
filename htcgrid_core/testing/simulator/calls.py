"""An agent's calls as actors of their own, which is what threads are in virtual time."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from htcgrid_core.agent.loop.calls import Bulkhead, Result
from htcgrid_core.testing.simulator.world import Actor, Crash, World

T = TypeVar("T")
Done = Callable[[Result[Any]], object]


class SimulatedCalls:
    """Calls of the current actor; one that meets a Crash takes the agent with it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._agent = world.current
        self._under_way: Counter[str] = Counter()
        self._threads: Counter[str] = Counter()
        self._waiting: dict[str, deque[Callable[[], None]]] = {}
        self._ended: deque[tuple[Bulkhead, Result[Any], Done]] = deque()
        self._actors: list[Actor] = []

    def make(self, bulkhead: Bulkhead, call: Callable[[], T], done: Callable[[Result[T]], object]) -> None:
        """Have an actor make it, once the bulkhead has a thread for it."""
        self._under_way[bulkhead.name] += 1
        self._waiting.setdefault(bulkhead.name, deque()).append(partial(self._run, bulkhead, call, done))
        if self._threads[bulkhead.name] < bulkhead.threads:
            self._threads[bulkhead.name] += 1
            self._actors.append(self._world.spawn(f"{self._agent.name}/{bulkhead.name}", partial(self._work, bulkhead)))

    def _work(self, bulkhead: Bulkhead) -> None:
        while waiting := self._waiting.get(bulkhead.name):
            waiting.popleft()()
        self._threads[bulkhead.name] -= 1
        self._actors.remove(self._world.current)

    def _run(self, bulkhead: Bulkhead, call: Callable[[], T], done: Callable[[Result[T]], object]) -> None:
        try:
            answer = call()
        except (Exception, Crash) as error:  # noqa: BLE001 - raised again in the agent's loop
            self._ended.append((bulkhead, partial(_raise, error), done))
        else:
            self._ended.append((bulkhead, lambda: answer, done))
        self._world.ring(self._agent)

    def room(self, bulkhead: Bulkhead) -> int:
        """Places left."""
        return bulkhead.depth - self._under_way[bulkhead.name]

    def collect(self) -> None:
        """Hand over the results that there are."""
        while self._ended:
            bulkhead, result, done = self._ended.popleft()
            self._under_way[bulkhead.name] -= 1
            done(result)

    def close(self) -> None:
        """Wait for the calls under way."""
        while any(self._threads.values()):
            self._world.pause(0.001)

    def end(self) -> None:
        """The agent's process is gone."""
        for actor in self._actors:
            actor.is_doomed = True
        self._waiting.clear()


def _raise(error: BaseException) -> Any:
    raise error
