"""Placing: which of several grids a new session goes to."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from htcgrid_core.domain.measurement import Measurement


@dataclass(frozen=True, slots=True)
class Candidate:
    """A grid that answers, and may take a session.

    Attributes:
        weight: the share that its user wants it to have; 0 for none.
        backlog: what it has to do already, as a multiple of its slots.
    """

    name: str
    weight: float
    backlog: float = 0.0

    @property
    def pull(self) -> float:
        """The share that it gets: half of its weight's when as much waits as it has slots."""
        return self.weight / (1.0 + self.backlog)


def backlog_of(load: Measurement, pool: str) -> float:
    """How many times as many slots the sessions of a pool could use as the grid has, whatever pool these serve.

    A grid that was scaled to nothing has no backlog, and so gets the first session.
    """
    return load.slots_wanted(pool) / max(1, load.slots)


def chosen(candidates: Sequence[Candidate], rng: random.Random) -> Candidate | None:
    """One of them, by chance, each as likely as its pull is large; None if none may take a session.

    By chance, since clients that do not know of each other would else all choose the same.
    """
    pulls = [candidate.pull for candidate in candidates]
    return rng.choices(candidates, pulls)[0] if any(pulls) else None


def by_weight(weights: Mapping[str, float]) -> list[Candidate]:
    """Grids of which nothing but their weights is known."""
    return [Candidate(name, weight) for name, weight in weights.items()]
