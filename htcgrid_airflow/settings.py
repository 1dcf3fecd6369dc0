"""Defaults from Airflow's configuration, section ``htcgrid``."""

from __future__ import annotations

from htcgrid_airflow.compat import conf
from htcgrid_airflow.defaults import (
    DEFAULT_DEFER_SECONDS,
    DEFAULT_INLINE_BYTES,
    DEFAULT_LOG_SECONDS,
    DEFAULT_POLL_SECONDS,
    DEFAULT_RESUME_SECONDS,
    SECTION,
    SETTLING_SECONDS,
)


def poll_interval() -> float:
    """Seconds between two looks at a session."""
    return conf.getfloat(SECTION, "poll_interval", fallback=DEFAULT_POLL_SECONDS)


def log_interval() -> float:
    """Seconds between two lines of progress in a task's log."""
    return conf.getfloat(SECTION, "log_interval", fallback=DEFAULT_LOG_SECONDS)


def defer_after() -> float:
    """Seconds that a worker waits itself before it defers."""
    return conf.getfloat(SECTION, "defer_after", fallback=DEFAULT_DEFER_SECONDS)


def resume_after() -> float:
    """The fewest seconds from a trigger's start to the task's resumption.

    The supervisor of a worker that has deferred may notice its exit only ``min_heartbeat_interval`` later; then the
    executor and a loop of the scheduler have to pass it on. A task that is queued again by then is failed.
    """
    notice = conf.getfloat("workers", "min_heartbeat_interval", fallback=DEFAULT_RESUME_SECONDS - SETTLING_SECONDS)
    return conf.getfloat(SECTION, "resume_after", fallback=notice + SETTLING_SECONDS)


def max_inline_bytes() -> int:
    """The most that results may take in XCom."""
    return conf.getint(SECTION, "max_inline_bytes", fallback=DEFAULT_INLINE_BYTES)


def default_deferrable() -> bool:
    """Whether operators defer, unless told otherwise."""
    return conf.getboolean("operators", "default_deferrable", fallback=False)
