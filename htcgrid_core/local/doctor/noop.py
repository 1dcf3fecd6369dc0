"""What the doctor's task runs."""

from __future__ import annotations

from typing import Any


def noop(event: Any, context: object) -> Any:
    """Return the event."""
    return event
