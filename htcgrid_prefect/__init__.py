"""HTC-Grid for Prefect 3: a task runner, and sessions of up to millions of tasks in a flow.

Importing this package is quick: each name below is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from htcgrid_prefect.flow.blocks import HTCGrid as HTCGrid
    from htcgrid_prefect.flow.futures import HTCGridFuture as HTCGridFuture
    from htcgrid_prefect.flow.sessions import arun_session as arun_session
    from htcgrid_prefect.flow.sessions import run_session as run_session
    from htcgrid_prefect.flow.task_runner import HTCGridTaskRunner as HTCGridTaskRunner

_HOMES = {
    "HTCGrid": "htcgrid_prefect.flow.blocks",
    "HTCGridFuture": "htcgrid_prefect.flow.futures",
    "HTCGridTaskRunner": "htcgrid_prefect.flow.task_runner",
    "arun_session": "htcgrid_prefect.flow.sessions",
    "run_session": "htcgrid_prefect.flow.sessions",
}

__all__ = ["HTCGrid", "HTCGridFuture", "HTCGridTaskRunner", "arun_session", "run_session"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
