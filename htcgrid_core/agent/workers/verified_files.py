"""Files that the agent has verified, read by their workers: each looks again, at the bytes that it then uses.

A worker has no key to verify a signature with. The agent names the SHA-256 of what it has verified: between its look
and the worker's, somebody may have written to the file.
"""

from __future__ import annotations

import hashlib

from htcgrid_core.domain.errors import CorruptPayload


def read(path: str, digest: str, what: str) -> bytes:
    """The bytes of a file.

    Raises:
        CorruptPayload: they are not those that the agent has verified.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        data = file.read()
    if hashlib.sha256(data).hexdigest() != digest:
        raise CorruptPayload(f"{what} {digest} does not have the digest that its name says")
    return data
