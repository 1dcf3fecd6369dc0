"""What one worker was given, and what it may therefore say: outcomes of these tasks, in their order, each once.

A worker is where handlers run, and a handler may write whatever it likes to its worker's connection and memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from htcgrid_core.codecs.outcomes import MAX_ATTEMPT, Outcomes
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.ports.worker import Chunk


class Assignments:
    """The chunks that a worker was given and has not ended.

    Attributes:
        chunks: in the order in which they were given.
    """

    def __init__(self) -> None:
        self.chunks: deque[Chunk] = deque()
        self._told = 0  # of the first chunk's tasks, those that have an outcome
        self._last_serial = 0
        self._taken_back: dict[int, int] = {}  # serial to the first position that the worker is to skip

    def give(self, chunk: Chunk) -> None:
        """The worker gets one more."""
        self.chunks.append(chunk)
        self._last_serial = chunk.serial

    @property
    def next(self) -> tuple[int, int] | None:
        """(serial, position) of the task whose outcome comes next, unless it was taken back; None if none comes."""
        return (self.chunks[0].serial, self._told) if self.chunks else None

    @property
    def owed(self) -> tuple[int, int] | None:
        """(serial, position) of the next task that was not taken back, which the worker has to run; None if none is."""
        for number, chunk in enumerate(self.chunks):
            told = 0 if number else self._told
            if told < self._taken_back.get(chunk.serial, len(chunk.indexes)):
                return chunk.serial, told
        return None

    def take_back(self, serial: int, position: int) -> list[tuple[int, int]]:
        """What comes after a task is another worker's: (serial, first position) of each chunk concerned."""
        taken = []
        for chunk in self.chunks:
            first = position + 1 if chunk.serial == serial else 0
            if chunk.serial >= serial and first < len(chunk.indexes):
                taken.append((chunk.serial, first))
        for chunk_serial, first in taken:
            self._taken_back[chunk_serial] = min(first, self._taken_back.get(chunk_serial, first))
        return taken

    def end(self, serial: int, outcomes: Outcomes) -> None:
        """The worker has sent outcomes of a chunk.

        Raises:
            CorruptPayload: they are not those of its next tasks.
        """
        skipped = self._skipped(serial)
        chunk, told = self.chunks[skipped], 0 if skipped else self._told
        until = told + len(outcomes)
        if _listed(chunk.indexes[told:until]) != outcomes.indexes.tolist():
            raise CorruptPayload(f"outcomes of other tasks of chunk {serial} than come next")
        if _clamped(chunk.attempts[told:until]) != outcomes.attempts.tolist():
            raise CorruptPayload(f"outcomes of other attempts than those of chunk {serial}")
        is_over = until == len(chunk.indexes)
        for _ in range(skipped + is_over):
            self._taken_back.pop(self.chunks.popleft().serial, None)
        self._told = 0 if is_over else until

    def _skipped(self, serial: int) -> int:
        """How many chunks, of which the rest was taken back, stand before that one."""
        for number, chunk in enumerate(self.chunks):
            if chunk.serial == serial:
                return number
            told = 0 if number else self._told
            if self._taken_back.get(chunk.serial, len(chunk.indexes)) > told:
                break
        raise CorruptPayload(f"outcomes of chunk {serial}, which is not the one that it was given to run now")

    def is_at(self, serial: int, position: int) -> bool:
        """Whether a task is one that the worker may run now; False if its chunk is over.

        Raises:
            CorruptPayload: it was never given that task.
        """
        for chunk in self.chunks:
            if chunk.serial == serial:
                if position >= len(chunk.indexes):
                    raise CorruptPayload(f"it runs task {position} of chunk {serial}, which has {len(chunk.indexes)}")
                return True
        if serial > self._last_serial:
            raise CorruptPayload(f"it runs chunk {serial}, which it was not given")
        return False


def _listed(numbers: Sequence[int]) -> list[int]:
    return numbers if isinstance(numbers, list) else list(numbers)


def _clamped(attempts: Sequence[int]) -> list[int]:
    return [attempt if attempt < MAX_ATTEMPT else MAX_ATTEMPT for attempt in attempts]
