"""What these tests run on the grid: a worker that imported Airflow with it would take seconds to start."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any


def triple(event: int) -> int:
    """A good task."""
    return 3 * event


def no_thirteen(event: int) -> int:
    """A task that fails for 13."""
    if event == 13:
        raise ValueError("13 is no good")
    return event


def below_repair(event: dict[str, Any]) -> int:
    """Fail for odd numbers until there is a file; note each execution."""
    folder = Path(event["folder"])
    number: int = event["number"]
    with (folder / "executions").open("a") as file:
        file.write(f"{number}\n")
    if number % 2 and not (folder / "repaired").exists():
        raise ValueError(f"{number} waits for a repair")
    return number


def number_of(event: dict[str, Any], context: Any) -> int:
    """The event's number."""
    number: int = event["number"]
    return number


def seen_by_name(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The event as it came."""
    return event


def types_of(event: dict[str, Any]) -> list[str]:
    """What the event's values are."""
    return [type(value).__name__ for value in event.values()]


def length_of(event: str, context: Any) -> int:
    """The event's length."""
    return len(event)


def hold(event: dict[str, Any]) -> int:
    """Run until there is a gate."""
    while not Path(event["gate"]).exists():
        time.sleep(0.02)
    number: int = event["number"]
    return number


def a_megabyte(event: int, context: Any) -> str:
    """A large result."""
    return str(event % 10) * (1 << 20)


def scaled(trade: dict[str, Any], curves: dict[str, float], factor: float = 1.0) -> float:
    """One task."""
    return float(trade["notional"] * curves[trade["currency"]] * factor)


def priced(event: dict[str, Any]) -> dict[str, Any]:
    """Twice the id, which there is not of the third."""
    if event["id"] == 3:
        raise ValueError("no third")
    return {"value": 2 * event["id"]}
