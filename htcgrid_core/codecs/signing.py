"""Signatures of pickled payloads: loading one runs code, so only what a holder of the grid's key wrote is loaded."""

from __future__ import annotations

import hmac

from htcgrid_core.domain.errors import SignatureInvalid

_VERSION = b"htcgrid/1"
SIGNATURE_BYTES = 32  # HMAC-SHA256

# What is signed for no one session: any session of the grid may use it.
FUNCTION_PURPOSE = "function"
SHARED_PURPOSE = "shared input"
PACKAGE_PURPOSE = "package"


def _mac(key: bytes, session_id: str, purpose: str, body: bytes) -> bytes:
    # Each part behind its length, so that no two different inputs are signed as the same bytes.
    parts = [_VERSION, session_id.encode(), purpose.encode()]
    head = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return hmac.digest(key, head + body, "sha256")


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
