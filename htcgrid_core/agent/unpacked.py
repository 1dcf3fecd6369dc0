"""Packages as their workers see them: unpacked once on a machine, read-only, and kept while there is room.

A worker holds a shared lock on the folder of its package, which its children inherit and the kernel drops at its
death: what is in use is known whatever process uses it, and nothing is to be cleaned up after a crash.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from htcgrid_core.codecs.packages import unpack
from htcgrid_core.codecs.signing import SIGNATURE_BYTES
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import InvalidPackage

TASK = "task"  # the package's files, in the folder of its digest
BYTECODE = "bytecode"  # what Python compiles of them


def task_folder(cache: Path, digest: str) -> Path:
    """Where the files of a package are once a worker uses it."""
    return cache / digest / TASK


def hold(cache: Path, digest: str, package: Path, limit_bytes: int = limits.PACKAGE_CACHE_BYTES) -> int:
    """Unpack a package unless it is there, and lock it for this process and what it becomes.

    Args:
        cache: folder of unpacked packages, shared by all agents of a machine.
        package: file with the sealed package, whose signature was verified.
        limit_bytes: of all packages; the one that was not used for the longest time goes first, never one in use.

    Returns:
        A descriptor; the package stays until it is closed everywhere.

    Raises:
        InvalidPackage: it is not what its digest says, or must not be unpacked.
        OSError: it cannot be read or written.
    """
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = cache / digest
    with _alone(cache):
        if not folder.is_dir():
            _unpack(cache, digest, package, limit_bytes)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(fd, fcntl.LOCK_SH)
        os.utime(folder)
    os.set_inheritable(fd, True)
    return fd


@contextlib.contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Unpacking and deleting are done by one process at a time."""
    fd = os.open(cache / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _unpack(cache: Path, digest: str, package: Path, limit_bytes: int) -> None:
    for left in cache.glob(".new-*"):  # by a process that died
        _delete(left)
    sealed = package.read_bytes()
    if hashlib.sha256(sealed).hexdigest() != digest:
        raise InvalidPackage(f"package {digest} does not have the digest that its name says")
    beside = cache / f".new-{secrets.token_hex(8)}"
    beside.mkdir(mode=0o700)
    try:
        _write(beside / TASK, sealed[SIGNATURE_BYTES:])
        (beside / BYTECODE).mkdir()
        _make_room(cache, limit_bytes - _size(beside))
        beside.rename(cache / digest)
    except BaseException:
        _delete(beside)
        raise


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


def _make_room(cache: Path, room_bytes: int) -> None:
    """Delete packages that nobody uses, the one used least recently first, until the others fit."""
    packages = [folder for folder in cache.iterdir() if folder.is_dir() and not folder.name.startswith(".")]
    sizes = {folder: _size(folder) for folder in packages}
    total = sum(sizes.values())
    for folder in sorted(packages, key=lambda folder: folder.stat().st_mtime_ns):
        if total <= room_bytes:
            return
        if _in_use(folder):
            continue
        doomed = cache / f".new-{secrets.token_hex(8)}"
        folder.rename(doomed)
        _delete(doomed)
        total -= sizes[folder]


def _in_use(folder: Path) -> bool:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _size(folder: Path) -> int:
    places = [os.path.join(place, name) for place, _, names in os.walk(folder) for name in names]
    return sum(os.lstat(place).st_size for place in places)


def _delete(folder: Path) -> None:
    for place, _, _ in os.walk(folder):
        os.chmod(place, 0o700)
    shutil.rmtree(folder)
