"""What Airflow is told about this package."""

from __future__ import annotations

from typing import Any

from htcgrid_airflow.defaults import (
    DEFAULT_DEFER_SECONDS,
    DEFAULT_INLINE_BYTES,
    DEFAULT_LOG_SECONDS,
    DEFAULT_POLL_SECONDS,
    SECTION,
    SETTLING_SECONDS,
)
from htcgrid_core import __version__


def _text(label: str, description: str) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": ["string", "null"]}}


CONNECTION = {
    "connection-type": "htcgrid",
    "hook-class-name": "htcgrid_airflow.hooks.HTCGridHook",
    "hook-name": "HTC-Grid",
    "ui-field-behaviour": {
        "hidden-fields": ["host", "schema", "login", "port", "extra"],
        "relabeling": {"password": "API token"},
        "placeholders": {"password": "Of an https:// grid"},
    },
    "conn-fields": {
        "grid": _text("Grid URL", "local://, local:///PATH, aws://NAME?region=REGION or https://HOST"),
        "region": _text("AWS region", "Of an aws:// grid, if its URL does not name one"),
        "aws_conn_id": _text(
            "AWS connection", "Whose credentials to use for an aws:// grid; empty for the machine's own"
        ),
        "pool": _text("Pool", "Where sessions queue, unless the operator says otherwise"),
        "priority": {
            "label": "Priority",
            "description": "Of sessions, unless the operator says otherwise",
            "schema": {"type": ["string", "null"], "enum": ["high", "normal", "low", None]},
        },
        "tenant": _text("Tenant", "On whose behalf sessions run, unless the operator says otherwise"),
        "allow_pickle": {
            "label": "Load pickled results",
            "description": "Of an https:// grid: its server can then run code where results are read",
            "schema": {"type": ["boolean", "null"]},
        },
    },
}

CONFIGURATION = {
    SECTION: {
        "description": "Defaults of the HTC-Grid operators.",
        "options": {
            "poll_interval": {
                "description": "Seconds between two looks at the sessions that are waited for.",
                "version_added": __version__,
                "type": "float",
                "example": None,
                "default": str(DEFAULT_POLL_SECONDS),
            },
            "log_interval": {
                "description": "Seconds between two lines of progress in a task's log.",
                "version_added": __version__,
                "type": "float",
                "example": None,
                "default": str(DEFAULT_LOG_SECONDS),
            },
            "defer_after": {
                "description": "Seconds that a worker waits itself before it defers; a shorter session never does.",
                "version_added": __version__,
                "type": "float",
                "example": None,
                "default": str(DEFAULT_DEFER_SECONDS),
            },
            "resume_after": {
                "description": "The fewest seconds from a trigger's start to the task's resumption: Airflow fails a "
                "task that is queued again before its scheduler has heard of the deferring worker's exit. Unless set, "
                f"[workers] min_heartbeat_interval and {SETTLING_SECONDS:g} s.",
                "version_added": __version__,
                "type": "float",
                "example": None,
                "default": None,
            },
            "max_inline_bytes": {
                "description": "The most that results may take in XCom, as JSON, with result='inline'.",
                "version_added": __version__,
                "type": "integer",
                "example": None,
                "default": str(DEFAULT_INLINE_BYTES),
            },
        },
    }
}


def get_provider_info() -> dict[str, Any]:
    """The provider's metadata; Airflow finds it through the entry point ``apache_airflow_provider``."""
    return {
        "package-name": "htcgrid",
        "name": "HTC-Grid",
        "description": "Fan a task out into a session of up to ten million short tasks on an HTC-Grid.",
        "versions": [__version__],
        "connection-types": [CONNECTION],
        "extra-links": ["htcgrid_airflow.links.HTCGridSessionLink"],
        "task-decorators": [{"name": "htcgrid", "class-name": "htcgrid_airflow.decorators.htcgrid_task"}],
        "triggers": [{"integration-name": "HTC-Grid", "python-modules": ["htcgrid_airflow.triggers"]}],
        "operators": [{"integration-name": "HTC-Grid", "python-modules": ["htcgrid_airflow.operators"]}],
        "sensors": [{"integration-name": "HTC-Grid", "python-modules": ["htcgrid_airflow.sensors"]}],
        "hooks": [{"integration-name": "HTC-Grid", "python-modules": ["htcgrid_airflow.hooks"]}],
        "config": CONFIGURATION,
    }
