"""What an operator sets through the environment: how long the audit and sessions are kept, and prices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.prices import VARIABLE as PRICES_VARIABLE
from htcgrid_core.domain.prices import Prices
from htcgrid_core.domain.retention import VARIABLE as RETENTION_VARIABLE
from htcgrid_core.domain.retention import Retention

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
    text = _file(environment, PRICES_VARIABLE)
    if text is None:
        return default
    try:
        return default.corrected(text)
    except InvalidInput as error:
        raise _wrong(environment, PRICES_VARIABLE, error) from None


def retention(environment: Mapping[str, str], default: Retention) -> Retention:
    """How long tenants' sessions may be kept, as the file says that the variable names; else the default.

    Raises:
        InvalidInput: the file cannot be read, or says something else.
    """
    text = _file(environment, RETENTION_VARIABLE)
    if text is None:
        return default
    try:
        return Retention.read(text)
    except InvalidInput as error:
        raise _wrong(environment, RETENTION_VARIABLE, error) from None


def retention_rules(environment: Mapping[str, str], default: Retention) -> Callable[[], Retention]:
    """What tells ``retention`` whenever it is asked: a file that changes is heard of, another variable is not."""
    return partial(retention, environment, default) if environment.get(RETENTION_VARIABLE) else lambda: default


def _file(environment: Mapping[str, str], variable: str) -> str | None:
    """What is in the file that a variable names; None if it names none."""
    path = environment.get(variable, "")
    if not path:
        return None
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{variable}: {path} cannot be read: {error}") from None


def _wrong(environment: Mapping[str, str], variable: str, error: InvalidInput) -> InvalidInput:
    return InvalidInput(f"{variable}, {environment[variable]}: {error}")
