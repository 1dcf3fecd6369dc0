"""Exceptions that come at a moment of a test's choosing, as a Ctrl-C does."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import FrameType, ModuleType
from typing import Any


class Interrupt(BaseException):
    """Of a kind that nobody expects."""


@contextlib.contextmanager
def interrupted_at(line: int, *modules: ModuleType) -> Iterator[list[int]]:
    """Raise at the ``line``-th line of modules that this thread comes to, counted from 1; tells how many it came to."""
    files = {module.__file__ for module in modules}
    seen = [0]

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            seen[0] += 1
            if seen[0] == line:
                raise Interrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield seen
    finally:
        sys.settrace(before)
