"""What the tests' tasks run on the grid, and what their steps in Airflow submit."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GATE, STARTED = "gate", "started"


def folder_of(step: str) -> Path:
    """Where one step of a DAG and its test leave each other signs."""
    folder = Path(os.environ["SYSTEM_TEST_FOLDER"], step)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def no_op(event: Any, context: Any) -> None:
    """Nothing."""


def parent_of(event: Any, context: Any) -> str:
    """The run of OpenLineage that a run of this task would name as its parent."""
    parent: str = context.labels["openlineage.parent"]
    return parent


def hold(event: dict[str, Any], context: Any) -> int:
    """Run until the test opens the step's gate."""
    folder = Path(event["folder"])
    with (folder / STARTED).open("a") as started:
        started.write(f"{event['number']}\n")
    while not (folder / GATE).exists():
        time.sleep(0.05)
    number: int = event["number"]
    return number


def fail_once(event: dict[str, Any], context: Any) -> int:
    """Fail for odd numbers until the test opens the step's gate."""
    if event["number"] % 2 and not (Path(event["folder"]) / GATE).exists():
        raise ValueError(f"{event['number']} is no good yet")
    number: int = event["number"]
    return number


def tell_and_fail_once(event: dict[str, Any], context: Any) -> int:
    """As ``fail_once``, with something printed."""
    print(f"attempt {context.attempt}: looking at number {event['number']}")
    return fail_once(event, context)


def events(step: str, count: int = 2) -> list[dict[str, Any]]:
    """Events for ``hold`` and ``fail_once``."""
    return [{"folder": str(folder_of(step)), "number": number} for number in range(count)]


class Stumbling:
    """A vector of events whose reader, in its first attempt, stops for ever at one of them: there it is killed.

    Large enough for several writes, so that a session is half written in the middle of it.
    """

    COUNT = 24_000
    PADDING = "x" * 1000

    def __init__(self, step: str, stumble_at: int) -> None:
        self.step, self.stumble_at = step, stumble_at

    def __call__(self) -> Iterator[dict[str, Any]]:
        """Yield the events; the process that stumbles leaves its id."""
        for number in range(self.COUNT):
            if number == self.stumble_at:
                self._stumble()
            yield {"number": number, "padding": self.PADDING}

    def _stumble(self) -> None:
        stumbled = folder_of(self.step) / "stumbled"
        if stumbled.exists():
            return
        written = stumbled.with_suffix(".part")
        written.write_text(str(os.getpid()))
        written.rename(stumbled)
        while True:
            time.sleep(1)
