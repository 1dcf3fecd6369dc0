"""When a request is made again: what passes by itself passes for a while, and a server may say how long it wants."""

from __future__ import annotations

import random
import time
from email.utils import parsedate_to_datetime

from htcgrid_core.domain.errors import GridError, GridUnavailable

BEAR_SECONDS = 5.0  # for which one request is made again
UPLOAD_BEAR_SECONDS = 120.0  # for which one in the middle of an upload is: what was sent is there
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 5.0


class Retries:
    """The tries of one request.

    Args:
        bear_seconds: after which no further try begins.
    """

    def __init__(self, bear_seconds: float = BEAR_SECONDS) -> None:
        self._until = time.monotonic() + bear_seconds
        self._pause = _FIRST_PAUSE_SECONDS

    def pause_after(self, error: GridError, retry_after: str = "") -> float:
        """How long to wait before the next try (s).

        Args:
            retry_after: what an answer said of it; empty if there was none.

        Raises:
            GridError: ``error``, if there is no next try.
        """
        if not isinstance(error, GridUnavailable):
            raise error
        wanted = asked_pause(retry_after)
        pause = self._pause * random.uniform(0.5, 1.0) if wanted is None else wanted  # noqa: S311 - no secret
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
        if time.monotonic() + pause > self._until:
            raise error
        return pause


def asked_pause(retry_after: str) -> float | None:
    """What a Retry-After header asks for, in seconds or as a date; None if it is none."""
    text = retry_after.strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None
