"""What an operator sets through the environment of audit and costs: how long entries are kept, and prices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.prices import VARIABLE as PRICES_VARIABLE
from htcgrid_core.domain.prices import Prices

AUDIT_VARIABLE = "HTCGRID_AUDIT_DAYS"
DAY_SECONDS = 86400.0
LONGEST_DAYS = 36_500


def audit_seconds(environment: Mapping[str, str], default_days: float = limits.AUDIT_SECONDS / DAY_SECONDS) -> float:
    """How long entries of the audit are kept.

    Raises:
        InvalidInput: the variable is no number of days.
    """
    text = environment.get(AUDIT_VARIABLE, "")
    try:
        days = float(text) if text else default_days
    except ValueError:
        days = 0.0
    if not 1 <= days <= LONGEST_DAYS:
        raise InvalidInput(f"{AUDIT_VARIABLE} is {text!r}: it is a number of days, from 1 to {LONGEST_DAYS}")
    return days * DAY_SECONDS


def prices(environment: Mapping[str, str], default: Prices) -> Prices:
    """Prices of what sessions take: the default's, but for what the file says that the variable names.

    Raises:
        InvalidInput: the file cannot be read, or is no file of prices.
    """
    path = environment.get(PRICES_VARIABLE, "")
    if not path:
        return default
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{PRICES_VARIABLE}: {path} cannot be read: {error}") from None
    try:
        return default.corrected(text)
    except InvalidInput as error:
        raise InvalidInput(f"{PRICES_VARIABLE}, {path}: {error}") from None
