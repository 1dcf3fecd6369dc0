"""How much of a step's time limit is left: Airflow limits a deferred task to what it is told when it defers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import Context


def time_left(context: Context, limit: timedelta) -> timedelta:
    """Of a limit that counts from the start of this try, which a deferral does not change; negative if it is over."""
    began = getattr(context["ti"], "start_date", None)
    return limit - (datetime.now(UTC) - began) if isinstance(began, datetime) else limit
