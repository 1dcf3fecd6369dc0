"""Patience with a grid that cannot be read for a while: the core's, told in Prefect's log."""

from __future__ import annotations

import logging
import time
from typing import Any

from prefect.logging import get_logger

from htcgrid_core import Patience


def new_patience(logger: logging.Logger | logging.LoggerAdapter[Any] | None = None) -> Patience:
    """Of one who waits."""
    say = (logger or get_logger("htcgrid")).warning
    return Patience(monotonic=time.monotonic, sleep=time.sleep, say=lambda text: say("%s", text))
