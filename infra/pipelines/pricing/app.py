"""The function that the example pipelines deploy."""

from __future__ import annotations

import math
from typing import Any


def handler(event: dict[str, Any], context: object) -> float:
    """Today's value of a payment."""
    return round(event["notional"] * math.exp(-0.03 * event["years"]), 2)
