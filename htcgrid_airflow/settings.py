"""Defaults from Airflow's configuration, section ``htcgrid``."""

from __future__ import annotations

from airflow.sdk import conf

from htcgrid_airflow.provider import DEFAULT_INLINE_BYTES, DEFAULT_LOG_SECONDS, DEFAULT_POLL_SECONDS, SECTION


def poll_interval() -> float:
    """Seconds between two looks at a session."""
    return conf.getfloat(SECTION, "poll_interval", fallback=DEFAULT_POLL_SECONDS)


def log_interval() -> float:
    """Seconds between two lines of progress in a task's log."""
    return conf.getfloat(SECTION, "log_interval", fallback=DEFAULT_LOG_SECONDS)


def max_inline_bytes() -> int:
    """The most that results may take in XCom."""
    return conf.getint(SECTION, "max_inline_bytes", fallback=DEFAULT_INLINE_BYTES)


def default_deferrable() -> bool:
    """Whether operators defer, unless told otherwise."""
    return conf.getboolean("operators", "default_deferrable", fallback=False)
