"""Moments as texts, by arithmetic alone."""

from __future__ import annotations

_DAY = 86_400_000  # milliseconds


def rfc3339(seconds: float) -> str:
    """Seconds since the epoch in UTC, to the millisecond, as RFC 3339 writes them."""
    days, left = divmod(round(seconds * 1000), _DAY)
    hours, left = divmod(left, 3_600_000)
    minutes, left = divmod(left, 60_000)
    year, month, day = _date(days)
    return f"{year:04d}-{month:02d}-{day:02d}T{hours:02d}:{minutes:02d}:{left // 1000:02d}.{left % 1000:03d}Z"


def _date(days: int) -> tuple[int, int, int]:
    """Year, month and day; the year is counted from March on, so that a leap day is its last (H. Hinnant)."""
    era, of_era = divmod(days + 719_468, 146_097)
    year_of_era = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    from_march = (5 * of_year + 2) // 153
    day = of_year - (153 * from_march + 2) // 5 + 1
    month = from_march + 3 if from_march < 10 else from_march - 9
    return era * 400 + year_of_era + (month <= 2), month, day


def seconds_of_day(day: str) -> float:
    """When a day, as YYYY-MM-DD in UTC, begins: seconds since the epoch.

    Raises:
        ValueError: there is no such day.
    """
    year, month, of_month = map(int, day.split("-"))
    days = _days(year, month, of_month)
    if _date(days) != (year, month, of_month):
        raise ValueError(f"there is no day {day}")
    return days * 86400.0


def day_after(day: str) -> float:
    """When a day ends."""
    return seconds_of_day(day) + 86400.0


def _days(year: int, month: int, day: int) -> int:
    """Since the epoch; undoes ``_date``."""
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
