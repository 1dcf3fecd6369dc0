"""Failure: a problem on its way out of a handler."""

from __future__ import annotations

from typing import Any

from htcgrid_core.codecs.problems import Kind, Problem


class Failure(Exception):
    """What a request is answered with instead."""

    def __init__(self, kind: Kind, detail: str, *, headers: dict[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.problem = Problem(kind, detail, members)
        self.headers = headers or {}
