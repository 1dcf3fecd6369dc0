"""What the sessions of the fixtures run. Every release has to be able to run it: it knows nothing of the grid."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

MENDED, OPEN = "mended", "open"  # files in the working directory


def price(event: dict[str, Any], context: Any) -> dict[str, float]:
    """A result for every event."""
    print("pricing", event["notional"])
    return {"value": event["notional"] * event["rate"]}


def fussy(event: dict[str, Any], context: Any) -> int:
    """Some events fail the first time, and bad ones until somebody mends what is wrong."""
    number: int = event["n"]
    if event["flaky"] and context.attempt == 1:
        raise RuntimeError("not yet")
    if event["bad"] and not Path(MENDED).exists():
        raise ValueError(f"{number} is no good")
    return number


def gate(event: dict[str, Any], context: Any) -> list[Any]:
    """Waits until the gate is open, if it has to; returns what it finds in its shared inputs."""
    while event["waits"] and not Path(OPEN).exists():
        time.sleep(0.02)
    return [event["n"], event["curve"]["discount"][event["n"] % 3], event["model"]["Heston", 5]]


def repeat(event: dict[str, Any], context: Any) -> str:
    """A large result of a large event."""
    return str(event["text"]) + "y" * len(event["text"])


class Refused(Exception):
    """What a callable raises, with an attribute of its own."""

    def __init__(self, name: str, code: int) -> None:
        super().__init__(name, code)
        self.code = code


@dataclass(frozen=True)
class Quote:
    """What a callable returns."""

    name: str
    on: date
    prices: dict[tuple[str, int], Decimal]


def quote(name: str) -> Quote:
    """Called with what JSON could not say, and returns it."""
    if name == "unknown":
        raise Refused(name, 7)
    return Quote(name, date(2026, 11, 20), {("bid", 1): Decimal("1.50")})
