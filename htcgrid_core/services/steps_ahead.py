"""The steps of a submission: large events are stored in threads, ahead of the rows, which are written in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")
U = TypeVar("U")

STEPS_AHEAD = 2  # whose events are held until they are written; a step is one large event, or some megabytes


class StepsAhead(Generic[T, U]):
    """Steps that are stored and then written, each after the one before.

    Args:
        write: what is done with what a step has stored, in the caller's thread.
    """

    def __init__(self, write: Callable[[T, U], None]) -> None:
        self._write = write
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: deque[tuple[Callable[[], T], U]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what is under way, which nobody wants any more if something was raised."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def add(self, store: Callable[[], T], told: U, *, is_large: bool) -> None:
        """One more step; steps before it may be written now.

        Args:
            store: makes what is written; of a large step, in a thread.
            told: what ``write`` is told beside.

        Raises:
            Exception: whatever storing or writing a step raises, of this one or of one before.
        """
        if not is_large:
            self.finish()
            self._write(store(), told)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(STEPS_AHEAD, thread_name_prefix="htcgrid-submit")
        self._under_way.append((self._pool.submit(store).result, told))
        if len(self._under_way) > STEPS_AHEAD:
            self._next()

    def finish(self) -> None:
        """Write all steps that are under way.

        Raises:
            Exception: as for ``add``.
        """
        while self._under_way:
            self._next()

    def _next(self) -> None:
        stored, told = self._under_way.popleft()
        self._write(stored(), told)
