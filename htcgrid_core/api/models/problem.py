"""What went wrong."""

from __future__ import annotations

from pydantic import BaseModel


class Problem(BaseModel):
    """What went wrong (RFC 9457); ``code`` is one of a fixed list."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    index: int | None = None
    session: str | None = None
    line: int | None = None
