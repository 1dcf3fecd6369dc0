"""The handler that contract suites submit: small, and found by every worker that has this package."""

from __future__ import annotations

import time
from typing import Any


def task(event: Any, context: Any) -> Any:
    """Twice the event; or as it asks, ``{"raise": text}`` or ``{"sleep": seconds}``."""
    if isinstance(event, dict) and "raise" in event:
        raise ValueError(event["raise"])
    if isinstance(event, dict) and "sleep" in event:
        return time.sleep(event["sleep"])
    return 2 * event
