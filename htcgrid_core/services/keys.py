"""The keys of a grid: which there are and what needs each; one more; and those that nothing needs dropped."""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import orjson

from htcgrid_core.codecs.signing import SIGNATURE_BYTES, named_key
from htcgrid_core.codecs.values import PICKLE_BEGIN
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.keyring import StoredKey, StoredKeys
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import audit, functions, sweep
from htcgrid_core.services.call_retries import with_retries

SESSIONS_AT_ONCE = 1000


@dataclass(frozen=True)
class KeyUse:
    """A key and what is signed with it.

    Attributes:
        signs: whether it signs what is new.
        live, ended: pickled sessions that run, and that can still be read.
        deployed: versions of functions, as ``name:version``.
        blobs: callables, packages and shared inputs.
    """

    stored: StoredKey
    signs: bool
    live: int
    ended: int
    deployed: tuple[str, ...]
    blobs: int

    @property
    def needed(self) -> bool:
        """Whether something could not be read without it."""
        return bool(self.live or self.ended or self.deployed or self.blobs)


def uses(plane: Plane) -> list[KeyUse]:
    """The keys by number, and what needs each. Reads the rows of all sessions, and the first bytes of what is signed.

    Raises:
        GridUnavailable, AccessDenied, UnknownGrid, IncompatibleGrid: they cannot be read.
    """
    stored = _all_keys(plane)
    live, ended, blobs, deployed = Counter[str](), Counter[str](), Counter[str](), defaultdict[str, list[str]](list)
    for record in _sessions(plane):
        if (name := _key_of(record)) is not None:
            (ended if record.ended else live)[name] += 1
    for prefix in (sweep.CALLABLES, sweep.PACKAGES, sweep.SHARED):
        for at in _there(plane, with_retries(plane, partial(plane.blobs.keys, prefix))):
            if prefix != sweep.SHARED or named_key(at) or at[SIGNATURE_BYTES:] == PICKLE_BEGIN:  # or it is not signed
                blobs[named_key(at)] += 1
    for function, entry in functions.entries(plane).items():
        for at in _there(plane, [entry]):
            deployed[named_key(at)].append(function)
    return [
        KeyUse(each, each is stored.signer, live[name], ended[name], tuple(deployed[name]), blobs[name])
        for each in stored.keys
        for name in (each.key.name,)
    ]


def rotate(plane: Plane) -> StoredKey:
    """Make one more key, which signs from now on; that of another rotation, if one is under way.

    Processes that run sign with it within a minute, and verify with it as soon as they meet it.

    Raises:
        GridUnavailable, AccessDenied, UnknownGrid, IncompatibleGrid: it cannot be made.
    """
    number = _all_keys(plane).signer.number + 1
    audit.note(plane, plane.actor(), "rotate-key", f"number {number}")
    plane.keys.store.make(number)
    return plane.keys.look().signer


def prune(plane: Plane, *, whatever_needs_them: bool = False) -> list[StoredKey]:
    """Drop the old keys that nothing needs, and that nobody can be signing with any more; those that were dropped.

    Args:
        whatever_needs_them: drop all but the newest. What they have signed can no longer be read.

    Raises:
        GridUnavailable, AccessDenied, UnknownGrid, IncompatibleGrid: they cannot be read or dropped.
    """
    stored, now = _all_keys(plane).keys, plane.clock.now()
    needed = set() if whatever_needs_them else {use.stored.number for use in uses(plane) if use.needed}
    dropped = []
    for key, later in pairwise(stored):
        has_retired = later.made_at + limits.KEY_RETIRED_SECONDS <= now
        if whatever_needs_them or (has_retired and key.number not in needed):
            audit.note(plane, plane.actor(), "drop-key", f"number {key.number}, {key.key.id}")
            plane.keys.store.drop(key.number)
            dropped.append(key)
    plane.keys.look()
    return dropped


def _all_keys(plane: Plane) -> StoredKeys:
    stored = plane.keys.look()
    if stored.denied is not None:
        raise stored.denied
    return stored


def _sessions(plane: Plane) -> Iterator[SessionRecord]:
    """All rows, newest first."""
    before: float | None = None
    seen: set[str] = set()
    while True:
        now, at = plane.clock.now(), before
        found = with_retries(plane, lambda: plane.store.sessions(now, states=(), limit=SESSIONS_AT_ONCE, before=at))  # noqa: B023
        yield from (record for record in found if record.session_id not in seen)
        if len(found) < SESSIONS_AT_ONCE:
            return
        seen = {record.session_id for record in found}
        before = found[-1].submitted_at


def _key_of(record: SessionRecord) -> str | None:
    """What names the key of a pickled session; None if nothing of it is signed, or nobody can read it anyway."""
    try:
        spec = orjson.loads(record.spec)
        return str(spec.get("signing_key", "")) if spec["codec"] == "pickle" else None
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
        return None


def _there(plane: Plane, keys: Iterable[str]) -> Iterator[bytes]:
    """The first bytes of blobs, but for those that were deleted meanwhile."""
    for key in keys:
        with contextlib.suppress(CorruptPayload):
            begin = partial(plane.blobs.get_range, key, 0, SIGNATURE_BYTES + len(PICKLE_BEGIN))
            yield bytes(with_retries(plane, begin))
