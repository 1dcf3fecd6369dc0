"""Calls of Python functions, counted by a profile: here, and in a worker by the task that asks for them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

Calls = Counter[str]

_in_worker: Calls = Counter()


def note(calls_of: Callable[[], Calls | None], frame: FrameType, event: str, _: Any) -> None:
    """A profile function: count a call in what ``calls_of`` says, if anything."""
    if event == "call" and (calls := calls_of()) is not None:
        code = frame.f_code
        calls[f"{'/'.join(Path(code.co_filename).parts[-2:])}:{code.co_firstlineno} {code.co_name}"] += 1


def count_in_worker(_: Any) -> Calls:
    """A task: what its worker has called until now; it counts from now on."""
    found = Calls(_in_worker)
    sys.setprofile(partial(note, lambda: _in_worker))
    return found
