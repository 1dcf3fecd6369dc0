"""Clocks that AWS does not accept: a signature is good for some minutes, and the refusal reads as if keys were bad."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

ALLOWED_SECONDS = 300.0  # by most services; S3 allows fifteen minutes
_CODES = ("RequestInTheFuture", "RequestTimeTooSkewed")
_SAID = re.compile(r"signature (expired|not yet current)", re.IGNORECASE)
_STAMP = re.compile(r"\b[0-9]{8}T[0-9]{6}Z\b")


def is_clock_skew(error: ClientError) -> bool:
    """Whether AWS itself says that the call came at the wrong time."""
    said = error.response.get("Error", {})
    return said.get("Code") in _CODES or bool(_SAID.search(said.get("Message") or ""))


def skew_seconds(error: ClientError, now: float) -> float | None:
    """By how much this machine's clock is ahead of AWS's, as the answer's Date has it; None if it has none.

    Args:
        now: when the answer came, by this machine's clock (seconds since the epoch).
    """
    theirs = server_time(error.response)
    return None if theirs is None else now - theirs


def server_time(answer: Any) -> float | None:
    """When AWS answered, by its own clock, to the second; None if the answer does not say."""
    return _seconds(answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", ""))


def both_times(error: ClientError, now: float) -> str:
    """Both clocks in words, as far as they are known: from the refusal itself, or else from its Date."""
    said: Any = error.response.get("Error", {})
    stamps = _STAMP.findall(said.get("Message") or "")  # the call's, the limit, and (AWS's own - 15 min.)
    ours = _seconds(said.get("RequestTime") or (stamps[0] if stamps else ""))
    theirs = _seconds(said.get("ServerTime") or (stamps[2] if len(stamps) > 2 else ""))
    ours = now if ours is None else ours
    theirs = server_time(error.response) if theirs is None else theirs
    if theirs is None:
        return f"it says {_words(ours)}"
    off = f"{abs(ours - theirs):,.0f} s {'ahead' if ours > theirs else 'behind'}"
    return f"it says {_words(ours)}, AWS's {_words(theirs)}: it is {off}"


def _seconds(text: str) -> float | None:
    """Seconds since the epoch of a time as AWS writes it in one place or another."""
    try:
        if "," in text:
            return parsedate_to_datetime(text).timestamp()
        return datetime.fromisoformat(text).astimezone(UTC).timestamp() if text else None
    except ValueError:
        return None


def _words(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
