"""Who is signed in: one-time codes, and what a browser holds in the place of a key.

A browser sends a cookie to every server of its host, whatever the port, and on a shared machine some of them are other
people's. So the cookie is one half; the other is kept by the page's origin, which has a port, and sent as a header.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from htcgrid_core.api.auth.keys import Key, KeyFile

CODE_SECONDS = 3600.0  # for which an address that was printed is good, if nobody has used it
IDLE_SECONDS = 12 * 3600.0  # after which a browser that asked for nothing is signed out
KEPT = 1000  # browsers; the one that was idle for longest gives way
LOCAL = "local"  # the key that a server generates, whose principal the one-time address is for


@dataclass(frozen=True, slots=True)
class Halves:
    """What a browser must send, both."""

    cookie: str
    page: str


@dataclass(slots=True)
class _SignedIn:
    key_id: str
    page: bytes
    idle_since: float
    root: str


class SignIns:
    """Of one server, in its memory: another one, or this one after a restart, knows nobody. For one event loop.

    Args:
        keys: whoever is signed in is a key's principal, for as long as that key is in the file and good.
    """

    def __init__(
        self,
        keys: KeyFile,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._monotonic = monotonic
        self._wall = wall
        self._codes: dict[bytes, tuple[str, float]] = {}
        self._browsers: OrderedDict[bytes, _SignedIn] = OrderedDict()

    def new_code(self) -> str | None:
        """A code that signs one browser in as the local principal; None if there is none such."""
        key = self._good(self._keys.by_name(LOCAL))
        if key is None:
            return None
        code = secrets.token_urlsafe(32)
        self._codes[_digest(code)] = (key.id, self._monotonic() + CODE_SECONDS)
        return code

    def by_code(self, code: str, root: str = "/") -> Halves | None:
        """Sign a browser in, once, for the paths below ``root``; None if the code is no good, or was used."""
        key_id, until = self._codes.pop(_digest(code), ("", 0.0))
        return self._begin(self._keys.by_id(key_id), root) if key_id and self._monotonic() < until else None

    def by_key(self, secret: str, root: str = "/") -> Halves | None:
        """Sign a browser in with a key of the file; None if it is no good."""
        return self._begin(self._keys.by_secret(secret), root)

    def key_of(self, halves: Halves) -> Key | None:
        """Whose browser this is; None if it is nobody's any more."""
        found = self._browsers.get(_digest(halves.cookie))
        if found is None or not hmac.compare_digest(found.page, _digest(halves.page)):
            return None
        now = self._monotonic()
        key = self._good(self._keys.by_id(found.key_id))
        if key is None or now - found.idle_since > IDLE_SECONDS:
            del self._browsers[_digest(halves.cookie)]
            return None
        found.idle_since = now
        self._browsers.move_to_end(_digest(halves.cookie))
        return key

    def end(self, halves: Halves) -> str:
        """Sign a browser out; return for which paths it was signed in."""
        if self.key_of(halves) is None:
            return "/"
        return self._browsers.pop(_digest(halves.cookie)).root

    def _begin(self, key: Key | None, root: str) -> Halves | None:
        if self._good(key) is None or key is None:
            return None
        halves = Halves(secrets.token_urlsafe(32), secrets.token_urlsafe(32))
        self._browsers[_digest(halves.cookie)] = _SignedIn(key.id, _digest(halves.page), self._monotonic(), root)
        if len(self._browsers) > KEPT:
            self._browsers.popitem(last=False)
        return halves

    def _good(self, key: Key | None) -> Key | None:
        return key if key is not None and (key.expires_at is None or key.expires_at > self._wall()) else None


def _digest(text: str) -> bytes:
    """Looked up in the place of the text, so that the time it takes tells nothing of others."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
