"""How far a section is: on a terminal in one line that changes, elsewhere in a line now and then."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console

EVERY_SECONDS = 10.0


class Progress:
    """What a section is at, and since when."""

    def __init__(self, console: Console, section: str) -> None:
        self._console = console
        self._section = section
        self._status = console.status(section)
        self._started = self._said = time.monotonic()

    def __enter__(self) -> Self:
        """Begin."""
        self._status.start()
        self._console.print(f"{self._section} begins")
        return self

    def say(self, what: str) -> None:
        """What is done or being done."""
        now = time.monotonic()
        text = f"{self._section}, {now - self._started:.0f} s: {what}"
        self._status.update(text)
        if not self._console.is_terminal and now - self._said >= EVERY_SECONDS:
            self._said = now
            self._console.print(text, highlight=False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self._status.stop()
        self._console.print(f"{self._section} took {time.monotonic() - self._started:.0f} s", highlight=False)
