"""How an agent makes the calls that a grid's planes may take long to answer: in its loop, or in threads beside it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Result = Callable[[], T]  # returns what a call returned, or raises what it raised


@dataclass(frozen=True, slots=True)
class Bulkhead:
    """Calls that wait for each other and for no others (the bulkhead pattern).

    Attributes:
        threads: calls made at the same time.
        depth: calls under way or waiting from which on the agent takes no more work.
    """

    name: str
    threads: int
    depth: int


# A heartbeat is never behind a queue of commits, nor a commit behind a claim that fetches a large function. Few
# threads: each call to AWS takes a millisecond of the interpreter, and more of them wait for each other.
CLAIM = Bulkhead("claim", 8, 8)
COMMIT = Bulkhead("commit", 16, 16)  # which share calls, where they are of one session
LARGE_COMMIT = Bulkhead("large commit", 2, 4)  # with so much to write that no loop waits for it
HEARTBEAT = Bulkhead("heartbeat", 1, 1)
CHORE = Bulkhead("chore", 1, 1)


class Calls(Protocol):
    """Makes calls, and tells the agent's loop what became of them."""

    def make(self, bulkhead: Bulkhead, call: Callable[[], T], done: Callable[[Result[T]], object]) -> None:
        """Make ``call``; ``done`` gets its result in the agent's own thread, now or in ``collect``."""

    def room(self, bulkhead: Bulkhead) -> int:
        """How many more calls a bulkhead takes before it is as deep as it should be."""

    def collect(self) -> None:
        """Hand over the results that there are."""

    def close(self) -> None:
        """Wait for the calls under way; nobody wants their results."""


class InlineCalls:
    """Each call is made at once, in the loop: for planes that answer within a fraction of a millisecond."""

    def make(self, bulkhead: Bulkhead, call: Callable[[], T], done: Callable[[Result[T]], object]) -> None:
        """Make it where the result is asked for."""
        done(call)

    def room(self, bulkhead: Bulkhead) -> int:
        """A call that is made is over."""
        return bulkhead.depth

    def collect(self) -> None:
        """Nothing is ever left."""

    def close(self) -> None:
        """Nothing is under way."""


class ThreadedCalls:
    """Each bulkhead has threads of its own, so that the loop waits for none of its calls.

    Args:
        ring: wakes the loop; called from any thread.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._under_way: dict[str, int] = {}  # by bulkhead; the loop's alone
        self._ended: deque[tuple[Bulkhead, Future[Any], Callable[[Result[Any]], object]]] = deque()

    def make(self, bulkhead: Bulkhead, call: Callable[[], T], done: Callable[[Result[T]], object]) -> None:
        """Have a thread of the bulkhead make it."""
        pool = self._pools.get(bulkhead.name)
        if pool is None:
            pool = ThreadPoolExecutor(bulkhead.threads, thread_name_prefix=f"htcgrid-{bulkhead.name}")
            self._pools[bulkhead.name] = pool
        self._under_way[bulkhead.name] = self._under_way.get(bulkhead.name, 0) + 1
        pool.submit(call).add_done_callback(partial(self._end, bulkhead, done))

    def _end(self, bulkhead: Bulkhead, done: Callable[[Result[Any]], object], future: Future[Any]) -> None:
        self._ended.append((bulkhead, future, done))
        self._ring()

    def room(self, bulkhead: Bulkhead) -> int:
        """Places left."""
        return bulkhead.depth - self._under_way.get(bulkhead.name, 0)

    def collect(self) -> None:
        """Hand over the results that there are."""
        while self._ended:
            bulkhead, future, done = self._ended.popleft()
            self._under_way[bulkhead.name] -= 1
            done(future.result)

    def close(self) -> None:
        """Wait for the calls under way."""
        for pool in self._pools.values():
            pool.shutdown(cancel_futures=True)


class InlineButLarge(ThreadedCalls):
    """Each call is made at once, in the loop, but those that write much, which take a disk as long as hundreds others.

    Args:
        ring: as for ``ThreadedCalls``.
    """

    def make(self, bulkhead: Bulkhead, call: Callable[[], T], done: Callable[[Result[T]], object]) -> None:
        """Make it where the result is asked for, or have a thread make it."""
        if bulkhead is LARGE_COMMIT:
            super().make(bulkhead, call, done)
        else:
            done(call)
