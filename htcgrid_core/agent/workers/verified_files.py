"""Files that the agent has verified, read by their workers: each looks again, at the bytes that it then uses.

A worker has no key to verify a signature with. The agent names the SHA-256 of what it has verified: between its look
and the worker's, somebody may have written to the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
from io import FileIO

from htcgrid_core.disk.open_files import may_be_mapped
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


def mapped(path: str, digest: str, what: str) -> memoryview:
    """The bytes of a file, as they lie in the machine's memory for all who map it, if it can be mapped; read-only.

    They are verified where they are, once. Blobs are never written to again; whoever may write to the grid's directory
    all the same could do so to the process, too.

    Raises:
        CorruptPayload, OSError: as for ``read``.
    """
    with open(path, "rb", buffering=0) as file:
        data = _mapped(file) or memoryview(file.read())
    if hashlib.sha256(data).hexdigest() != digest:
        raise CorruptPayload(f"{what} {digest} does not have the digest that its name says")
    return data


def _mapped(file: FileIO) -> memoryview | None:
    with contextlib.suppress(OSError, ValueError):  # no room for a map, no maps in this file system, or it is empty
        if may_be_mapped(file.fileno()):
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return None
