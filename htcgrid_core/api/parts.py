"""Tasks in the order of their completion, from any task on: what one answer cannot hold goes on in the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.codecs.tasks import TaskPage
from htcgrid_core.codecs.wire import size_of

PARTS = 8  # that an answer holds at least, unless an outcome is larger than a part


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where to go on: behind a page of the grid, and so many tasks of the next one; as text ``PAGE`` or ``PAGE.TASKS``.

    The tasks of a page, and their order, never change.
    """

    page: int
    tasks: int = 0

    @classmethod
    def read(cls, text: str) -> Cursor:
        """Undo ``str``."""
        page, _, tasks = text.partition(".")
        return cls(int(page), int(tasks or 0))

    def __str__(self) -> str:
        return f"{self.page}.{self.tasks}" if self.tasks else str(self.page)


@dataclass(frozen=True, slots=True)
class Part:
    """A page, or a part of it.

    Attributes:
        behind: the cursor that goes on behind it.
        is_last: whether nothing of the page follows.
    """

    page: TaskPage
    behind: Cursor
    is_last: bool = True


def parts(pages: Iterable[TaskPage], begin: Cursor, part_bytes: int | None) -> Iterator[Part]:
    """Pages that were read from ``begin.page`` on, in parts.

    Args:
        part_bytes: that a part has at most, unless one outcome is larger; None for whole pages.
    """
    before, skipped = begin.page, begin.tasks
    for page in pages:
        if part_bytes is None and not skipped:
            yield Part(page, Cursor(page.cursor))
        else:
            yield from _cut(page, Cursor(before, skipped), part_bytes)
        before, skipped = page.cursor, 0


def _cut(page: TaskPage, begin: Cursor, part_bytes: int | None) -> Iterator[Part]:
    some: list[Outcome] = []
    size = 0
    for count, outcome in enumerate(page.outcomes):
        if count < begin.tasks:
            continue
        more = size_of(outcome)
        if some and part_bytes is not None and size + more > part_bytes:
            yield Part(replace(page, outcomes=some), Cursor(begin.page, count), is_last=False)
            some, size = [], 0
        some.append(outcome)
        size += more
    yield Part(replace(page, outcomes=some), Cursor(page.cursor))
