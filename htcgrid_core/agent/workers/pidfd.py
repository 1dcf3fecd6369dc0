"""A descriptor that is readable once a process has ended."""

from __future__ import annotations

import os


def open_pidfd(pid: int) -> int:
    """Of a child; -1 where there is no such thing: on other systems, and in sandboxes that do not allow it."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1
