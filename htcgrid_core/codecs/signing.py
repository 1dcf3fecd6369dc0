"""Signatures of pickled payloads: loading one runs code, so only what a holder of a key of the grid wrote is loaded.

A signature has 32 bytes. That of a grid's first key is an HMAC-SHA256, as of releases that knew only one key. Another
key's names the key: ``HGK1``, the key's id (4), and the first 24 bytes of the HMAC-SHA256.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from htcgrid_core.codecs.buffers import Buffer, Data
from htcgrid_core.domain.errors import SignatureInvalid

_LENGTH = struct.Struct(">I")
_VERSION = b"htcgrid/1"
_BEGIN = _LENGTH.pack(len(_VERSION)) + _VERSION
_NAMED = b"HGK1"
_ID_BYTES = 4
KEY_BYTES = 32
SIGNATURE_BYTES = 32  # HMAC-SHA256
NAME_BYTES = len(_NAMED) + _ID_BYTES  # of a signature, that say whose it is

# What is signed for no one session: any session of the grid may use it.
FUNCTION_PURPOSE = "function"
SHARED_PURPOSE = "shared input"
PACKAGE_PURPOSE = "package"


@dataclass(frozen=True)
class Key:
    """A secret that signs.

    Attributes:
        is_first: whether it is the grid's first, whose signatures name no key.
    """

    secret: bytes = field(repr=False)
    is_first: bool = True

    @cached_property
    def id(self) -> str:
        """What it is called: made of the secret, which it does not tell."""
        return hmac.digest(self.secret, b"htcgrid key id", "sha256")[:_ID_BYTES].hex()

    @property
    def name(self) -> str:
        """What its signatures, and specs of sessions, name it by: its id, or nothing if it is the first."""
        return "" if self.is_first else self.id

    def signature(self, session_id: str, purpose: str, body: Data) -> bytes:
        """Of a body for one session and purpose."""
        if isinstance(body, bytes):
            return self._ended(self._begun(session_id, purpose, body))
        digest = self._begun(session_id, purpose)
        for part in body:
            digest.update(part)
        return self._ended(digest)

    def _begun(self, session_id: str, purpose: str, body: bytes = b"") -> hashlib._Hash:
        # Each part behind its length, so that no two different inputs are signed as the same bytes.
        session, what = session_id.encode(), purpose.encode()
        digest = _keyed(self.secret)[0].copy()
        digest.update(b"".join((_BEGIN, _LENGTH.pack(len(session)), session, _LENGTH.pack(len(what)), what, body)))
        return digest

    def _ended(self, digest: hashlib._Hash) -> bytes:
        outer = _keyed(self.secret)[1].copy()
        outer.update(digest.digest())
        if self.is_first:
            return outer.digest()
        return (_NAMED + bytes.fromhex(self.id) + outer.digest())[:SIGNATURE_BYTES]


class Keys(Protocol):
    """The keys of a grid."""

    def first(self) -> Key | None:
        """The one whose signatures name no key; None if it was dropped."""

    def find(self, key_id: str) -> Key | None:
        """The one of this id; None if there is none, or none any more."""


@functools.lru_cache(maxsize=8)
def _keyed(secret: bytes) -> tuple[hashlib._Hash, hashlib._Hash]:
    """SHA-256 as HMAC begins its two passes (RFC 2104); ``hmac.digest`` looks the algorithm up each time."""
    block = (secret if len(secret) <= 64 else hashlib.sha256(secret).digest()).ljust(64, b"\0")
    return hashlib.sha256(bytes(x ^ 0x36 for x in block)), hashlib.sha256(bytes(x ^ 0x5C for x in block))


def seal(key: Key, session_id: str, purpose: str, body: bytes) -> bytes:
    """``body`` behind its signature, over version, session, purpose and itself."""
    return key.signature(session_id, purpose, body) + body


def unseal(keys: Keys, session_id: str, purpose: str, data: bytes) -> bytes:
    """The body of sealed ``data``.

    Raises:
        SignatureInvalid: it was not written with a key of the grid for this session and purpose.
    """
    body = data[SIGNATURE_BYTES:]
    verify(keys, session_id, purpose, data[:SIGNATURE_BYTES], (body,))
    return body


def verify(keys: Keys, session_id: str, purpose: str, signature: bytes, body: Iterable[Buffer]) -> None:
    """Check a signature of a body, of which each part is asked for once.

    Raises:
        SignatureInvalid: as for ``unseal``.
    """
    name = named_key(signature)
    # The first key's signatures are any bytes, such as begin with a name, too.
    candidates = [key for key in (keys.find(name) if name else None, keys.first()) if key is not None]
    digests = [key._begun(session_id, purpose) for key in candidates]
    for part in body:
        for digest in digests:
            digest.update(part)
    for key, digest in zip(candidates, digests, strict=True):
        if hmac.compare_digest(signature, key._ended(digest)):
            return
    wrote = (
        f"it says key {name}, which this grid does not have (any more)"
        if name and keys.find(name) is None
        else ("it was written with another key or changed since")
    )
    raise SignatureInvalid(
        f"the signature of {purpose} of session {session_id or '(none)'} does not verify, so it was not loaded; {wrote}"
    )


def named_key(data: bytes) -> str:
    """The id of the key that sealed data say they are signed with; empty if they name none."""
    return data[len(_NAMED) : NAME_BYTES].hex() if data.startswith(_NAMED) else ""
