"""The inputs of the tasks, and the comparison of what came back."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator, Sequence
from typing import Any

Event = dict[str, Any]

PAD_BYTES = 744  # 992 characters in base64: with its number, an event is about 1,024 bytes of JSON


class WrongResultError(Exception):
    """A result was lost, doubled or is not what the task should have returned."""


def one_kilobyte(count: int, seed: int = 1) -> list[Event]:
    """``count`` distinct events of 1 KB that no compression can shrink much."""
    source = random.Random(seed)
    return [{"n": n, "pad": base64.b64encode(source.randbytes(PAD_BYTES)).decode()} for n in range(count)]


def short(count: int) -> Iterator[Event]:
    """``count`` events of about ten bytes, made as they are asked for."""
    return ({"n": n} for n in range(count))


def timed(count: int, seconds: float) -> list[Event]:
    """``count`` events for the handlers that sleep or spin for ``seconds``."""
    return [{"n": n, "s": seconds} for n in range(count)]


def check(results: Sequence[Any], expected: Sequence[Any]) -> None:
    """Raise unless every result is there, in order, and equal to what was expected."""
    if len(results) != len(expected):
        raise WrongResultError(f"{len(expected)} tasks, {len(results)} results")
    for index, (result, wanted) in enumerate(zip(results, expected, strict=True)):
        if result != wanted:
            raise WrongResultError(f"task {index}: {str(wanted)[:80]!r} expected, {str(result)[:80]!r} came back")
