"""What went wrong."""

from __future__ import annotations

from pydantic import BaseModel


class EventProblem(BaseModel):
    """What is wrong with an event: its row, from 0 on, where in it, and why."""

    row: int
    path: str
    reason: str


class Problem(BaseModel):
    """What went wrong (RFC 9457); ``code`` is one of a fixed list.

    Attributes:
        source, problems, bad, checked: of events that are not what their function's schema says: whose they are, the
            first twenty of what is wrong, how many events are, and how many were looked at.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    index: int | None = None
    session: str | None = None
    line: int | None = None
    source: str | None = None
    problems: list[EventProblem] | None = None
    bad: int | None = None
    checked: int | None = None
