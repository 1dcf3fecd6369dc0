"""Aliases of functions: one blob for each change, whose number is won by whoever writes it first; the last one counts.

They are not signed: an alias only chooses among versions of its function, each of which is.
"""

from __future__ import annotations

from functools import partial

from htcgrid_core.domain.alias import Alias
from htcgrid_core.domain.errors import CorruptPayload, FunctionNotFound
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import functions
from htcgrid_core.services.call_retries import with_retries

ALIASES = "aliases/"
_NAMED = "a."  # before a name, which may begin with what no key begins with


def put(plane: Plane, function: str, alias: Alias) -> Alias:
    """Make an alias, or move it.

    Raises:
        FunctionNotFound: there is no such function, or no such version of it.
    """
    if not alias.removed:
        for version in filter(None, (alias.version, alias.other_version)):
            functions.resolve(plane, function, version)
    body, changes = alias.model_dump_json().encode(), _changes_of(function, alias.name)
    while True:
        before = _changes(plane, function, alias.name)
        key = f"{changes}{(before[-1] if before else 0) + 1:08d}"
        with_retries(plane, partial(plane.blobs.put, key, body))
        if with_retries(plane, partial(plane.blobs.get, key)) == body:
            for number in before[:-1]:  # the one before stays, for those who are about to read it
                with_retries(plane, partial(plane.blobs.delete_prefix, f"{changes}{number:08d}"))
            return alias


def find(plane: Plane, function: str, name: str) -> Alias | None:
    """An alias; None if there is none."""
    for _ in range(3):  # while it is read, it may be moved twice
        changes = _changes(plane, function, name)
        if not changes:
            return None
        try:
            key = f"{_changes_of(function, name)}{changes[-1]:08d}"
            found = Alias.stored(with_retries(plane, partial(plane.blobs.get, key)))
        except CorruptPayload:
            continue
        return None if found.removed else found
    raise FunctionNotFound(f"alias {name!r} of function {function!r} is being moved: ask again")


def listed(plane: Plane, function: str) -> list[Alias]:
    """All aliases of a function, by name."""
    keys = with_retries(plane, partial(plane.blobs.keys, _folder(function)))
    names = sorted({key.removeprefix(_folder(function) + _NAMED).partition("/")[0] for key in keys})
    return [alias for name in names if (alias := find(plane, function, name)) is not None]


def _changes(plane: Plane, function: str, name: str) -> list[int]:
    prefix = _changes_of(function, name)
    return sorted(int(key.removeprefix(prefix)) for key in with_retries(plane, partial(plane.blobs.keys, prefix)))


def _changes_of(function: str, name: str) -> str:
    return f"{_folder(function)}{_NAMED}{name}/"


def _folder(function: str) -> str:
    return f"{ALIASES}{function}/"
