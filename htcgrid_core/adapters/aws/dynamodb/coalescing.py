"""Request coalescing: threads that find a call under way wait for it, and then share the next one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from htcgrid_core.adapters.locked import holding, locked, new_lock

P = TypeVar("P")
R = TypeVar("R")

LOCKS = 64  # locks that all keys share; which keys share one is of no matter


class _Nothing(Enum):
    YET = "no answer yet"


@dataclass(eq=False, slots=True)
class _Waiting(Generic[P, R]):
    part: P
    weight: int
    answer: R | Exception | _Nothing = _Nothing.YET

    @property
    def is_answered(self) -> bool:
        return self.answer is not _Nothing.YET


class Coalescer(Generic[P, R]):
    """Makes one call of what threads ask for at the same time under one key, and never two for one key at a time.

    Nobody waits for company: a thread that finds no call under way makes its own at once. What a thread was about to
    do for others when it was interrupted, the next of them does.

    Args:
        most: weight of one call.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = new_lock()
        self._under_way = [new_lock() for _ in range(LOCKS)]
        self._waiting: dict[Hashable, list[_Waiting[P, R]]] = {}

    def run(self, key: Hashable, part: P, weight: int, call: Callable[[Sequence[P]], Sequence[R | Exception]]) -> R:
        """The answer to one part.

        Args:
            call: makes one call of some parts, and answers each of them, or says what to raise for it; an Exception
                that it raises itself is raised for all of them. It may be repeated after an interruption.
        """
        mine: _Waiting[P, R] = _Waiting(part, weight)
        try:
            self._join(key, mine)
            holding(self._under_way[hash(key) % LOCKS], lambda: self._call_until_answered(key, mine, call))
        finally:
            self._leave(key, mine)
        if isinstance(mine.answer, Exception):
            raise mine.answer
        assert not isinstance(mine.answer, _Nothing)
        return mine.answer

    def _call_until_answered(
        self, key: Hashable, mine: _Waiting[P, R], call: Callable[[Sequence[P]], Sequence[R | Exception]]
    ) -> None:
        while not mine.is_answered:
            some = self._first(key)
            try:
                answers = call([waiting.part for waiting in some])
            except Exception as error:  # noqa: BLE001 - it is raised where each answer is asked for
                answers = [error] * len(some)
            for waiting, answer in zip(some, answers, strict=True):
                waiting.answer = answer

    @locked
    def _join(self, key: Hashable, mine: _Waiting[P, R]) -> None:
        self._waiting.setdefault(key, []).append(mine)

    @locked
    def _first(self, key: Hashable) -> list[_Waiting[P, R]]:
        """Those that have waited longest, as many as go into one call. They go on waiting until they are answered."""
        found: list[_Waiting[P, R]] = []
        weight = 0
        for waiting in self._waiting[key]:
            if waiting.is_answered:
                continue
            weight += waiting.weight
            if found and weight > self._most:
                break
            found.append(waiting)
        return found

    @locked
    def _leave(self, key: Hashable, mine: _Waiting[P, R]) -> None:
        """Nobody waits for this answer any more."""
        left = [waiting for waiting in self._waiting.get(key, ()) if waiting is not mine]
        if left:
            self._waiting[key] = left
        else:
            self._waiting.pop(key, None)
