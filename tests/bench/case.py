"""A case: one subject of one section, run in a process tree of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from tests.bench.sizes import Sizes

Metrics = dict[str, float]
Note = Callable[[str], None]
Run = Callable[[str, Sizes, Note], Metrics]
Status = Literal["ok", "skipped", "wrong", "error"]


@dataclass(frozen=True, slots=True)
class Case:
    """What to run."""

    section: str
    subject: str

    def __str__(self) -> str:
        """Name it for people and for the command line."""
        return f"{self.section}:{self.subject}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: metrics when ok, otherwise the reason."""

    case: Case
    status: Status
    metrics: Metrics = field(default_factory=dict)
    detail: str = ""

    @property
    def failed(self) -> bool:
        """Whether something was lost, wrong or broken; an engine that is not installed is neither."""
        return self.status in ("wrong", "error")
