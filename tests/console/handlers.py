"""What the console's sessions run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any


def task(event: Any, context: Any) -> Any:
    """Print, fail, or wait for a file, as the event asks; else give it back."""
    if not isinstance(event, dict):
        return event
    if "print" in event:
        print(event["print"])
    held = b"x" * event.get("hold_bytes", 0)
    if "until" in event:
        while not Path(event["until"]).exists():
            time.sleep(0.01)
    if context.attempt < event.get("from_attempt", 0):
        raise ConnectionError(f"attempt {context.attempt} fails")
    if "raise" in event:
        raise ValueError(event["raise"])
    return len(held) if held else event.get("return")
