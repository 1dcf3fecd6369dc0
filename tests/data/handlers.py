"""Handlers of the tests."""

from __future__ import annotations

from typing import Any


def price(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Twice the id; the seventh has no price."""
    if event["id"] == 7:
        raise ValueError("no price")
    return {"value": event["id"] * 2.0, "day": event["day"]}
