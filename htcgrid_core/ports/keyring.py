"""The keys of a grid: where they are kept, and as they are used.

A new key is one more, under the next number; nothing that is there is changed. So rotating may be interrupted, and of
several at once one makes the key.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, Self

from htcgrid_core.codecs.signing import Key
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GRID_FAILURES, AccessDenied, GridUnavailable, IncompatibleGrid

FIRST = 1
UNKNOWN_KEPT = 256  # ids that were looked for in vain: whoever may write blobs may name any


@dataclass(frozen=True)
class StoredKey:
    """A key as it is kept.

    Attributes:
        number: of its rotation; the highest one signs.
        made_at: wall clock, seconds.
    """

    number: int
    key: Key
    made_at: float


@dataclass(frozen=True)
class StoredKeys:
    """What is kept, by number.

    Attributes:
        denied: why those that came after the first may not be read, if they may not.
    """

    keys: tuple[StoredKey, ...]
    denied: AccessDenied | None = None

    @property
    def signer(self) -> StoredKey:
        """What signs what is new."""
        return self.keys[-1]


class KeyStore(Protocol):
    """Where the keys are kept. Only this user, or who is allowed to, reads them."""

    def read(self) -> StoredKeys:
        """All of them; one or more.

        Raises:
            GridUnavailable, AccessDenied, UnknownGrid, IncompatibleGrid: they cannot be read, or are no secrets.
        """

    def make(self, number: int) -> None:
        """Make a key, unless there is one of this number already; durable when it returns.

        Raises:
            GridUnavailable, AccessDenied: it cannot be made.
        """

    def drop(self, number: int) -> None:
        """Delete a key, if it is there."""


class Keyring:
    """The keys as a process knows them: it looks again for one that it does not know. May be used from many threads.

    Args:
        store: where they are.
        monotonic: seconds, by which what is known ages.
    """

    def __init__(self, store: KeyStore, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.store = store
        self._monotonic = monotonic
        self._unknown: dict[str, float] = {}
        self._by_id: dict[str, Key] = {}
        self._first: Key | None = None
        self._read_at = 0.0
        self._stored = self.look()

    @classmethod
    def of(cls, secret: bytes) -> Self:
        """One key that is kept nowhere."""
        return cls(_OneKey(secret))

    def look(self) -> StoredKeys:
        """Read them all.

        Raises:
            GridUnavailable, AccessDenied, UnknownGrid, IncompatibleGrid: as for ``KeyStore.read``.
        """
        self._read_at = self._monotonic()
        found = self._stored = self.store.read()
        self._by_id = {stored.key.id: stored.key for stored in found.keys}
        self._first = next((stored.key for stored in found.keys if stored.number == FIRST), None)
        return found

    def signer(self) -> Key:
        """What signs new sessions and functions, as it was at most a minute ago."""
        self._refresh()
        return self._stored.signer.key

    def reusable(self, now: float) -> list[Key]:
        """The keys before the newest that have not retired yet: what they have signed is not to be signed anew.

        So a submission that is repeated after a rotation names the same functions and shared inputs as it did before.

        Args:
            now: wall clock, seconds.
        """
        stored = self._stored.keys
        since = now - limits.KEY_RETIRED_SECONDS
        return [key.key for key, later in pairwise(stored) if later.made_at > since]

    def of_session(self, key_id: str) -> Key:
        """What signs for a session that began with a key; the newest if that was dropped.

        Args:
            key_id: empty for the first.
        """
        return (self.find(key_id) if key_id else self.first()) or self._stored.signer.key

    def first(self) -> Key | None:
        """The one whose signatures name no key; None if it was dropped."""
        self._refresh()
        return self._first

    def find(self, key_id: str) -> Key | None:
        """The one of this id, if need be after another look; None if there is none, or none any more.

        Raises:
            GridUnavailable, AccessDenied, UnknownGrid: that cannot be told now.
        """
        self._refresh()
        if (key := self._by_id.get(key_id)) is not None:
            return key
        now = self._monotonic()
        if now - self._unknown.get(key_id, float("-inf")) < limits.KEYS_KNOWN_SECONDS:
            return None
        try:
            found = self.look()
        except IncompatibleGrid as error:  # somebody may be mending it, and whoever asks knows of no such failure
            raise GridUnavailable(str(error)) from error
        if key_id not in self._by_id:
            if found.denied is not None:
                raise found.denied
            if len(self._unknown) >= UNKNOWN_KEPT:
                self._unknown.clear()
            self._unknown[key_id] = now
        return self._by_id.get(key_id)

    def _refresh(self) -> None:
        if self._monotonic() - self._read_at >= limits.KEYS_KNOWN_SECONDS:
            with contextlib.suppress(*GRID_FAILURES, IncompatibleGrid):  # what is known does for another minute
                self.look()


class _OneKey:
    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def read(self) -> StoredKeys:
        return StoredKeys((StoredKey(FIRST, Key(self._secret), 0.0),))

    def make(self, number: int) -> None:
        raise NotImplementedError

    def drop(self, number: int) -> None:
        raise NotImplementedError
