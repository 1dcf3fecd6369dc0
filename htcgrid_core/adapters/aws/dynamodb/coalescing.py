"""Request coalescing: threads that find a call under way wait for it, and then share the next one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock
from typing import Generic, TypeVar

P = TypeVar("P")
R = TypeVar("R")

LOCKS = 64  # locks that all keys share; which keys share one is of no matter


@dataclass(eq=False, slots=True)
class _Waiting(Generic[P, R]):
    part: P
    weight: int
    answer: Future[R] = field(default_factory=Future)


class Coalescer(Generic[P, R]):
    """Makes one call of what threads ask for at the same time under one key, and never two for one key at a time.

    Nobody waits for company: a thread that finds no call under way makes its own at once.

    Args:
        most: weight of one call.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = Lock()
        self._under_way = [Lock() for _ in range(LOCKS)]
        self._waiting: dict[Hashable, deque[_Waiting[P, R]]] = {}

    def run(self, key: Hashable, part: P, weight: int, call: Callable[[Sequence[P]], Sequence[R | Exception]]) -> R:
        """The answer to one part.

        Args:
            call: makes one call of some parts, and answers each of them, or says what to raise for it; what it raises
                itself is raised for all of them.
        """
        mine: _Waiting[P, R] = _Waiting(part, weight)
        with self._lock:
            self._waiting.setdefault(key, deque()).append(mine)
        with self._under_way[hash(key) % LOCKS]:
            while not mine.answer.done():
                _make(self._next(key), call)
        return mine.answer.result()

    def _next(self, key: Hashable) -> list[_Waiting[P, R]]:
        """Those that have waited longest, as many as go into one call."""
        with self._lock:
            waiting = self._waiting[key]
            taken = [waiting.popleft()]
            weight = taken[0].weight
            while waiting and weight + waiting[0].weight <= self._most:
                weight += waiting[0].weight
                taken.append(waiting.popleft())
            if not waiting:
                del self._waiting[key]
        return taken


def _make(taken: Sequence[_Waiting[P, R]], call: Callable[[Sequence[P]], Sequence[R | Exception]]) -> None:
    try:
        answers = call([waiting.part for waiting in taken])
    except BaseException as error:  # noqa: BLE001 - it is raised where each answer is asked for
        answers = [error] * len(taken)  # type: ignore[list-item]  # whatever it is
    for waiting, answer in zip(taken, answers, strict=True):
        if isinstance(answer, BaseException):
            waiting.answer.set_exception(answer)
        else:
            waiting.answer.set_result(answer)
