"""What tasks of these tests do; without Prefect, so that workers start quickly."""

from __future__ import annotations

import time
from pathlib import Path


def square(number: int) -> int:
    """Square."""
    return number * number


def nothing(number: int) -> None:
    """Do nothing."""


def only_even(number: int) -> int:
    """Refuse odd numbers."""
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


def wait_at(event: tuple[str, int]) -> int:
    """Wait until the file exists; number 0 does not wait."""
    path, number = event
    while number and not Path(path).exists():
        time.sleep(0.01)
    return number


def noted(event: tuple[str, int, str]) -> int:
    """Write down that it ran; fail while the file of obstacles exists and the number is odd."""
    notes, number, obstacle = event
    with open(notes, "a") as file:
        file.write(f"{number}\n")
    if number % 2 and Path(obstacle).exists():
        raise ValueError(f"{number} is odd")
    return number
