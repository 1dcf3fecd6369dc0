"""Keys as they are pressed, on a terminal of POSIX."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

NAMES = {"\x1b[A": "up", "\x1b[B": "down", "\x1bOA": "up", "\x1bOB": "down", "\r": "enter", "\n": "enter",
         "\x1b": "escape", "\x7f": "backspace", "\b": "backspace"}  # fmt: skip
READ_BYTES = 1024


class Keys:
    """Of the terminal at stdin."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def pressed(self, timeout_seconds: float) -> list[str]:
        """Keys that were pressed, waiting for the first of them at most so long: characters, or their ``NAMES``."""
        ready, _, _ = select.select([self._fd], [], [], timeout_seconds)
        if not ready:
            return []
        return list(_keys(os.read(self._fd, READ_BYTES).decode("utf-8", "ignore")))


@contextmanager
def keys() -> Iterator[Keys]:
    """Read keys one by one, unseen, while the block runs; Ctrl-C stays what it is."""
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)
    try:
        yield Keys(fd)
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _keys(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        size = next((len(known) for known in NAMES if len(known) > 1 and text.startswith(known, at)), 1)
        yield NAMES.get(text[at : at + size], text[at : at + size])
        at += size
