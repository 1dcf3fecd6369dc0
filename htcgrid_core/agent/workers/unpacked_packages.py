"""Packages as their workers see them: unpacked once on a machine, read-only, and kept while there is room.

Before each start of a worker it is looked whether a package is as it was unpacked: the names, owners, modes, sizes and
times of change of all its files and folders, of which the kernel lets nobody choose the last. What a handler has
changed is unpacked anew, so that it does not run the next one; not seen is a handler, running as the agent's user, that
has changed the record of them as well.

A worker holds the folder of its package, and so do its children: what is in use is known whatever process uses it, and
nothing is to be cleaned up after a crash.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from htcgrid_core.codecs.packages import unpack
from htcgrid_core.codecs.signing import SIGNATURE_BYTES
from htcgrid_core.disk.cache import DiskCache
from htcgrid_core.disk.stamp import stamp
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import InvalidPackage

TASK = "task"  # the package's files, in the folder of its digest
BYTECODE = "bytecode"  # what Python compiles of them, for each tenant by itself: handlers may write there
STAMP = "stamp"  # a digest of all of them as they were unpacked


def task_folder(cache: Path, digest: str) -> Path:
    """Where the files of a package are once a worker uses it."""
    return cache / digest / TASK


def bytecode_folder(cache: Path, digest: str, tenant: str) -> Path:
    """Where Python keeps what it compiles of a package for a tenant."""
    return cache / digest / BYTECODE / tenant


def hold(cache: Path, digest: str, package: Path, limit_bytes: int = limits.CACHE_BYTES) -> int:
    """Unpack a package unless it is there, and lock it for this process and what it becomes.

    Args:
        cache: folder that all agents of a machine share, with the blobs that they fetched.
        package: file with the sealed package, whose signature was verified.
        limit_bytes: of all that is in the folder; the longest unused goes first, never what is in use.

    Returns:
        A descriptor; the package stays until it is closed everywhere.

    Raises:
        InvalidPackage: it is not what its digest says, or must not be unpacked.
        OSError: it cannot be read or written.
    """

    def write(folder: Path) -> None:
        sealed = package.read_bytes()
        if hashlib.sha256(sealed).hexdigest() != digest:
            raise InvalidPackage(f"package {digest} does not have the digest that its name says")
        folder.mkdir(mode=0o700)
        _write(folder / TASK, sealed[SIGNATURE_BYTES:])
        (folder / BYTECODE).mkdir(mode=0o700)
        (folder / STAMP).write_text(stamp(folder / TASK))

    return DiskCache(cache, limit_bytes).hold(digest, write, _is_whole)


def _is_whole(folder: Path) -> bool:
    """Whether a package is as it was unpacked."""
    try:
        return (folder / STAMP).read_text() == stamp(folder / TASK)
    except OSError:
        return False  # something of it is gone


def _write(folder: Path, data: bytes) -> None:
    for entry in unpack(data):
        path = folder / entry.name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with open(os.open(path, flags, 0o555 if entry.executable else 0o444), "wb") as file:
            for chunk in entry.chunks:
                file.write(chunk)
    for place, _, _ in os.walk(folder, topdown=False):
        os.chmod(place, 0o555)  # noqa: S103 - no handler changes by accident what the next one runs
