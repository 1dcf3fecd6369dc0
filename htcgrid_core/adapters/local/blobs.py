"""Blobs as files: written beside, synced, then renamed, so that a file under its final name is whole."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from htcgrid_core.domain.errors import CorruptPayload, GridUnavailable

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")


class FileBlobs:
    """A folder of blobs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, key: str) -> Path:
        """The blob's file."""
        return Path(self._name(key))

    def _name(self, key: str) -> str:
        if not _KEY.fullmatch(key):
            raise CorruptPayload(f"{key!r} is not a blob key")
        return f"{self._folder}/{key}"

    def put(self, key: str, data: bytes) -> None:
        """Store ``data`` unless the key exists."""
        path = self.path(key)
        if self.touch(key):
            return
        beside = path.with_name(f".{secrets.token_hex(8)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(beside, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(beside, path)  # unlike a rename, never replaces a blob that came first
            self._sync_folders(path)
        except OSError as error:
            raise GridUnavailable(f"blob {key} cannot be written: {error}") from error
        finally:
            beside.unlink(missing_ok=True)

    def _sync_folders(self, path: Path) -> None:
        """Make the names on the way to ``path`` survive a power failure, as its bytes do."""
        for folder in path.parents:
            fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            if folder == self._folder:
                return

    def get(self, key: str) -> bytes:
        """Read a blob."""
        return self.get_range(key, 0, -1)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Read a part of a blob."""
        try:
            with open(self.path(key), "rb") as file:
                file.seek(start)
                return file.read(length)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise CorruptPayload(f"blob {key} is missing") from error
        except OSError as error:
            raise GridUnavailable(f"blob {key} cannot be read: {error}") from error

    def exists(self, key: str) -> bool:
        """Whether the blob is there."""
        return self.path(key).is_file()

    def keys(self, prefix: str) -> list[str]:
        """Keys of the blobs in the folder ``prefix`` (which ends with a slash) and below."""
        found = []
        for folder, _, names in os.walk(self.path(prefix.removesuffix("/"))):
            place = Path(folder).relative_to(self._folder).as_posix()
            found += [f"{place}/{name}" for name in names if not name.startswith(".")]  # a dot: being written
        return sorted(found)

    def touch(self, key: str) -> bool:
        """Note that a blob is used now; False if there is none."""
        try:
            os.utime(self._name(key))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise GridUnavailable(f"blob {key} cannot be used: {error}") from error
        return True

    def delete_unused(self, prefix: str, before: float, keep: Callable[[str], bool]) -> list[str]:
        """Delete blobs below ``prefix`` that were not used since ``before``, unless ``keep`` says otherwise."""
        gone = []
        for key in self.keys(prefix):
            path = self.path(key)
            with contextlib.suppress(FileNotFoundError):  # another process was quicker
                if path.stat().st_mtime < before and not keep(key) and path.stat().st_mtime < before:
                    path.unlink()
                    gone.append(key)
        return gone

    def delete_prefix(self, prefix: str) -> None:
        """Delete the folder ``prefix`` (which ends with a slash)."""
        shutil.rmtree(self.path(prefix.removesuffix("/")), ignore_errors=True)
