"""What an examination finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"  # works, but not well or not for long
    PROBLEM = "problem"  # does not work


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of an examination.

    Attributes:
        check: what was looked at.
        message: what was seen.
        advice: what to do about it; empty if nothing.
    """

    check: str
    verdict: Verdict
    message: str
    advice: str = ""


Findings = Iterator[Finding]


def ok(check: str, message: str) -> Finding:
    """All is well."""
    return Finding(check, Verdict.OK, message)


def warning(check: str, message: str, advice: str) -> Finding:
    """It works, but."""
    return Finding(check, Verdict.WARNING, message, advice)


def problem(check: str, message: str, advice: str) -> Finding:
    """It does not work."""
    return Finding(check, Verdict.PROBLEM, message, advice)
