"""Blobs on this machine's disk: an agent fetches a function or a shared input once, not once a task."""

from __future__ import annotations

import hashlib
import re
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from htcgrid_core.adapters.locked import holding, new_lock
from htcgrid_core.adapters.unpacked_folders import UnpackedFolders
from htcgrid_core.disk.cache import DiskCache
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GridUnavailable

_DIGEST = re.compile(r"[0-9a-f]{64}")
READ_BYTES = 1 << 20
LOCKS = 64  # blobs that seldom share one are fetched at the same time


class BlobCache:
    """Files in a folder that the agents of a machine share.

    A blob whose key ends with its SHA-256 is found again, and is what its key says: that is looked at when this
    process first finds it, once a minute afterwards, and when its file has been replaced. What is damaged is dropped.
    """

    def __init__(self, disk: DiskCache) -> None:
        self._disk = disk
        self.folders = UnpackedFolders(disk)
        self._locks = [new_lock() for _ in range(LOCKS)]
        self._seen: dict[str, tuple[int, int, float]] = {}  # inode, size, and when it was found to be whole

    def file(self, key: str, fetch: Callable[[Path], object]) -> Path:
        """The blob's file, fetched unless it is here; once, however many threads want it.

        Args:
            fetch: writes it to the path that it is given.
        """
        lock = self._locks[zlib.crc32(key.encode()) % len(self._locks)]
        return holding(lock, lambda: self.find(key) or self.add(key, fetch))

    def find(self, key: str) -> Path | None:
        """The blob's file, if it is here and whole.

        Raises:
            GridUnavailable: others could have put something into the cache.
        """
        digest = key.rpartition("/")[2]
        try:
            path = self._disk.find(_name(key)) if _DIGEST.fullmatch(digest) else None
        except PermissionError as error:
            raise GridUnavailable(f"blob {key} cannot be looked for: {error}") from error
        if path is None:
            return None
        try:
            status = path.stat()
            inode, size, since = self._seen.get(key, (0, 0, float("-inf")))
            now = time.monotonic()
            if (inode, size) == (status.st_ino, status.st_size) and now - since < limits.CACHED_BLOB_TRUSTED_SECONDS:
                return path
            if _digest(path) != digest:
                self._disk.drop(_name(key))
                return None
        except FileNotFoundError:  # another process made room just now
            return None
        self._seen[key] = status.st_ino, status.st_size, now
        return path

    def add(self, key: str, fetch: Callable[[Path], object]) -> Path:
        """Keep a blob; its file, also if there is no room for it."""
        try:
            return self._disk.add(_name(key), fetch)
        except OSError as error:
            raise GridUnavailable(f"blob {key} cannot be kept in {self._disk.folder}: {error}") from error


def _name(key: str) -> str:
    return f"blob-{hashlib.sha256(key.encode()).hexdigest()}"


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(READ_BYTES):
            found.update(chunk)
    return found.hexdigest()
