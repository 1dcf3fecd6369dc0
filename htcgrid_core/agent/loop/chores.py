"""Chores: what an agent does every so often beside its tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Chore:
    """Something to do every so often; due at a monotonic time."""

    every_seconds: float
    action: Callable[[], object]
    due_at: float = float("-inf")
