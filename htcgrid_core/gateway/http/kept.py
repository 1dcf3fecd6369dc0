"""What a wait brought for a call that mostly follows, which then asks nothing."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

from htcgrid_core.domain import limits

T = TypeVar("T")


class Kept(Generic[T]):
    """Values by their sessions, the newest hundred. May be used from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: OrderedDict[str, T] = OrderedDict()

    def keep(self, session_id: str, value: T) -> None:
        """Until it is taken, or others take its place."""
        with self._lock:
            self._values[session_id] = value
            if len(self._values) > limits.PROGRESS_BATCH:
                self._values.popitem(last=False)

    def take(self, session_id: str) -> T | None:
        """A session's; once, since whoever waited has it then."""
        if not self._values:
            return None
        with self._lock:
            return self._values.pop(session_id, None)
