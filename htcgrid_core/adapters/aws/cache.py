"""A folder of blobs that were fetched: an agent reads a function or a shared input once, not once a task."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from pathlib import Path

from htcgrid_core.domain.errors import GridUnavailable

IN_USE_SECONDS = 3600.0  # what was asked for within this time is not removed: a worker may be about to read it


class BlobCache:
    """Files of at most ``limit_bytes`` in all, the longest unused removed first."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes

    def find(self, key: str) -> Path | None:
        """The blob's file, if it is here."""
        path = self._path(key)
        try:
            os.utime(path)
        except FileNotFoundError:
            return None
        return path

    def add(self, key: str, data: bytes) -> Path:
        """Keep a blob; its file."""
        path = self._path(key)
        beside = path.with_name(f".{secrets.token_hex(8)}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._make_room(len(data))
            beside.write_bytes(data)
            beside.rename(path)
        except OSError as error:
            raise GridUnavailable(f"blob {key} cannot be kept in {self._folder}: {error}") from error
        finally:
            beside.unlink(missing_ok=True)
        return path

    def _path(self, key: str) -> Path:
        return self._folder / hashlib.sha256(key.encode()).hexdigest()

    def _make_room(self, size: int) -> None:
        found = []
        for entry in os.scandir(self._folder):
            with contextlib.suppress(FileNotFoundError):  # another thread or process has renamed or removed it
                found.append((entry.stat(), entry.path))
        total = size + sum(stat.st_size for stat, _ in found)
        for stat, path in sorted(found, key=lambda pair: pair[0].st_mtime):
            if total <= self._limit_bytes or time.time() - stat.st_mtime < IN_USE_SECONDS:
                return
            Path(path).unlink(missing_ok=True)
            total -= stat.st_size
