"""What the code is working on just now, for the lines of the log: session, bundle, task, attempt, trace."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar, Token

_FIELDS: ContextVar[Mapping[str, object]] = ContextVar("htcgrid-log-context")


class LogContext:
    """``with LogContext(session=..., bundle=...):`` lines of the log that are written in the block carry these fields.

    Most blocks write no line: a field that takes time to make is given as a function, which is called for each line.
    """

    __slots__ = ("_fields", "_token")

    def __init__(self, **fields: object) -> None:
        self._fields = fields
        self._token: Token[Mapping[str, object]] | None = None

    def __enter__(self) -> None:
        self._token = _FIELDS.set({**_FIELDS.get({}), **self._fields})

    def __exit__(self, *_: object) -> None:
        assert self._token is not None
        _FIELDS.reset(self._token)


def log_fields() -> Mapping[str, object]:
    """The fields of all blocks around."""
    return {name: value() if callable(value) else value for name, value in _FIELDS.get({}).items()}
