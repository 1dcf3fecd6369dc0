"""A session of a million tasks: each question is a module of its own, each with a process tree of its own."""

from __future__ import annotations

from tests.bench.case import Metrics, Note, Run
from tests.bench.sections import million_cancel, million_grid, million_pool, million_stubborn, million_wake
from tests.bench.sizes import Sizes

PARTS: dict[str, Run] = {
    "grid.submit": million_grid.run,
    "ProcessPool": million_pool.run,
    "wake": million_wake.run,
    "cancel": million_cancel.run,
    "stubborn": million_stubborn.run,
}
SUBJECTS = tuple(PARTS)


def run(subject: str, sizes: Sizes, note: Note) -> Metrics:
    """Answer one of the questions."""
    return PARTS[subject](subject, sizes, note)
