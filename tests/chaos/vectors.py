"""Vectors of events, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.chaos.handlers import Event

KINDS = {"plain": 80, "flaky": 8, "bad": 2, "crashing": 2, "large": 8}


def events(seed: int, size: int, trace: str, *, padding: int = 0) -> Iterator[Event]:
    """Mostly short tasks, a few longer ones; some fail once, some always, some kill their worker."""
    rng = random.Random(seed)
    kinds, weights = list(KINDS), list(KINDS.values())
    for n in range(size):
        yield {
            "n": n,
            "kind": rng.choices(kinds, weights)[0],
            "seconds": rng.choice([0.0, 0.001, 0.005, 0.02]) if rng.random() < 0.99 else 0.5,
            "trace": trace,
            "padding": "x" * padding,
        }
