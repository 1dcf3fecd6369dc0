"""Staged folders as tasks see them: unpacked once on a machine, read-only, and kept while there is room."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from htcgrid_core.codecs import folders
from htcgrid_core.disk.cache import KEPT, DiskCache
from htcgrid_core.disk.stamp import stamp
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GridUnavailable

FILES = "files"
STAMP = "stamp"  # a digest of them as they were unpacked


class UnpackedFolders:
    """Folders in a cache that the agents of a machine share. May be used from many threads.

    What was unpacked has had the digest of its archive. Whether it is still as it was then is looked at when this
    process first finds it, and once a minute afterwards; what is not is unpacked anew.
    """

    def __init__(self, disk: DiskCache) -> None:
        self._disk = disk
        self._seen: dict[str, float] = {}  # when a folder was found to be whole

    def folder(self, key: str, archive: Callable[[], Path]) -> Path:
        """The folder of an archive.

        Args:
            key: of the blob; ends with the SHA-256 of the archive.
            archive: gives its file, which is asked for only if it is to be unpacked.

        Raises:
            CorruptPayload: there is no such archive, or it is damaged.
            GridUnavailable: it cannot be unpacked here.
        """
        digest = key.rpartition("/")[2]
        try:
            found = self._disk.find(KEPT + digest)
            if found is None or not self._is_whole(found):
                found = self._unpacked(digest, archive())
        except OSError as error:
            raise GridUnavailable(f"shared folder {digest} cannot be kept in {self._disk.folder}: {error}") from error
        return found / FILES

    def _is_whole(self, folder: Path) -> bool:
        now = time.monotonic()
        if now - self._seen.get(folder.name, float("-inf")) < limits.CACHED_BLOB_TRUSTED_SECONDS:
            return True
        if not _is_as_unpacked(folder):
            return False
        self._seen[folder.name] = now
        return True

    def _unpacked(self, digest: str, archive: Path) -> Path:
        def write(folder: Path) -> None:
            folders.unpack(archive, digest, folder / FILES)
            (folder / STAMP).write_text(stamp(folder / FILES))

        return self._disk.keep(digest, write, _is_as_unpacked)


def _is_as_unpacked(folder: Path) -> bool:
    try:
        return (folder / STAMP).read_text() == stamp(folder / FILES)
    except OSError:
        return False  # something of it is gone
