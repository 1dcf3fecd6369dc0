"""References to shared inputs, stored once with ``grid.put``: where a task runs, values or files stand for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

MARK = "$htcgrid.shared"  # the one key that a reference has beside "codec" in JSON
NOT_SUBMITTED = "the event names shared input {name}, which is none of those that it was submitted with"


@dataclass(frozen=True, slots=True)
class SharedInput:
    """A reference to a stored value; put it anywhere in an event.

    Attributes:
        digest: SHA-256 of the stored bytes, which is also their name.
        codec: how they are encoded: json, pickle (signed) or bytes; or file or folder, for the path of one
            that they are the bytes, or the archive, of.
    """

    digest: str
    codec: str

    @property
    def name(self) -> str:
        """By which an agent knows it: what was verified of the bytes depends on what they are read as."""
        return f"{self.digest}.{self.codec}"

    def __reduce__(self) -> tuple[Any, ...]:
        _note(self)
        return _restore, (self.digest, self.codec)

    def to_json(self) -> dict[str, str]:
        """The reference as it stands in a JSON event."""
        _note(self)
        return {MARK: self.digest, "codec": self.codec}


FILE = "file"  # of an input that tasks have as a path
FOLDER = "folder"  # likewise; what is stored is an archive of it (folders.py)
PATHS = frozenset((FILE, FOLDER))
_CODECS = frozenset(("json", "pickle", "bytes", FILE, FOLDER))
_DIGEST = re.compile(r"[0-9a-f]{64}").fullmatch
_noted: ContextVar[set[str] | None] = ContextVar("htcgrid_shared_inputs", default=None)
_resolver: Callable[[SharedInput], Any] | None = None


def _note(reference: SharedInput) -> None:
    noted = _noted.get()
    if noted is not None:
        noted.add(reference.name)


def _restore(digest: str, codec: str) -> Any:
    reference = SharedInput(digest, codec)
    return reference if _resolver is None else _resolver(reference)


# For each of many events, a context manager would take a third of its encoding's time.
note_into = _noted.set
stop_noting = _noted.reset


class noting:  # noqa: N801 - a context manager, used as a function; as a generator it would take its time with each event
    """Collect the ``digest.codec`` of every reference that is encoded meanwhile, in this context."""

    __slots__ = ("_token",)

    def __enter__(self) -> set[str]:
        noted: set[str] = set()
        self._token = note_into(noted)
        return noted

    def __exit__(self, *_: object) -> None:
        stop_noting(self._token)


def resolve_with(resolver: Callable[[SharedInput], Any]) -> None:
    """From now on, references in this process (a worker) are replaced by what ``resolver`` returns."""
    global _resolver
    _resolver = resolver


def resolved(value: Any) -> Any:
    """A decoded JSON value with every reference replaced."""
    if isinstance(value, dict):
        if MARK in value and set(value) == {MARK, "codec"}:
            return _restore(value[MARK], value["codec"])
        return {key: resolved(item) for key, item in value.items()}
    if isinstance(value, list):
        return [resolved(item) for item in value]
    return value


def shared_names(value: Any) -> tuple[str, ...]:
    """The shared inputs that a JSON value refers to, each once."""
    return tuple(sorted(set(_references(value))))


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if set(value) == {MARK, "codec"}:
            digest, codec = value[MARK], value["codec"]
            if isinstance(digest, str) and codec in _CODECS and _DIGEST(digest):
                yield f"{digest}.{codec}"
            return
        value = value.values()
    elif not isinstance(value, list):
        return
    for item in value:
        if isinstance(item, dict | list):
            yield from _references(item)
