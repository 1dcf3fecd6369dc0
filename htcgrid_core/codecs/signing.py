"""Signatures of pickled payloads: loading one runs code, so only what a holder of the grid's key wrote is loaded."""

from __future__ import annotations

import functools
import hashlib
import hmac
import struct

from htcgrid_core.domain.errors import SignatureInvalid

_LENGTH = struct.Struct(">I")
_VERSION = b"htcgrid/1"
_BEGIN = _LENGTH.pack(len(_VERSION)) + _VERSION
SIGNATURE_BYTES = 32  # HMAC-SHA256

# What is signed for no one session: any session of the grid may use it.
FUNCTION_PURPOSE = "function"
SHARED_PURPOSE = "shared input"
PACKAGE_PURPOSE = "package"


def _mac(key: bytes, session_id: str, purpose: str, body: bytes) -> bytes:
    # Each part behind its length, so that no two different inputs are signed as the same bytes.
    session, what = session_id.encode(), purpose.encode()
    inner, outer = _keyed(key)
    digest, signature = inner.copy(), outer.copy()
    digest.update(b"".join((_BEGIN, _LENGTH.pack(len(session)), session, _LENGTH.pack(len(what)), what, body)))
    signature.update(digest.digest())
    return signature.digest()


@functools.lru_cache(maxsize=8)
def _keyed(key: bytes) -> tuple[hashlib._Hash, hashlib._Hash]:
    """SHA-256 as HMAC begins its two passes (RFC 2104); ``hmac.digest`` looks the algorithm up each time."""
    block = (key if len(key) <= 64 else hashlib.sha256(key).digest()).ljust(64, b"\0")
    return hashlib.sha256(bytes(x ^ 0x36 for x in block)), hashlib.sha256(bytes(x ^ 0x5C for x in block))


def seal(key: bytes, session_id: str, purpose: str, body: bytes) -> bytes:
    """``body`` behind its HMAC-SHA256 over version, session, purpose and itself."""
    return _mac(key, session_id, purpose, body) + body


def unseal(key: bytes, session_id: str, purpose: str, data: bytes) -> bytes:
    """The body of sealed ``data``.

    Raises:
        SignatureInvalid: it was not written with this key for this session and purpose.
    """
    signature, body = data[:SIGNATURE_BYTES], data[SIGNATURE_BYTES:]
    if not hmac.compare_digest(signature, _mac(key, session_id, purpose, body)):
        raise SignatureInvalid(
            f"the signature of {purpose} of session {session_id or '(none)'} does not verify, so it was not loaded; "
            "it was written with another key or changed since"
        )
    return body
