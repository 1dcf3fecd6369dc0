"""Blobs as files: written beside, synced, then renamed, so that a file under its final name is whole."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import re
import secrets
import shutil
import sys
from collections import deque
from collections.abc import Callable, Sequence
from io import FileIO
from itertools import islice
from pathlib import Path

from htcgrid_core.adapters.unpacked_folders import UnpackedFolders
from htcgrid_core.codecs.buffers import Buffer, Data, parts_of
from htcgrid_core.codecs.mapped import MAPPED_BYTES
from htcgrid_core.disk.cache import DiskCache
from htcgrid_core.disk.open_files import may_be_mapped
from htcgrid_core.domain.errors import CorruptPayload, GridUnavailable, InvalidInput

COPY_BYTES = 1 << 20
PARTS_AT_ONCE = 512  # POSIX lets a system take no more than 16 in one call; Linux and macOS take 1,024
SCRATCH_BYTES = 1 << 18  # it stays in a processor's cache
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")


class FileBlobs:
    """A folder of blobs.

    Args:
        unpacked: where folders are unpacked whose archives are blobs.
    """

    def __init__(self, folder: Path, unpacked: DiskCache) -> None:
        self._folder = folder
        self._unpacked = UnpackedFolders(unpacked)

    def path(self, key: str) -> Path:
        """The blob's file."""
        return Path(self._name(key))

    def folder(self, key: str) -> Path:
        """The folder whose archive the blob is."""
        return self._unpacked.folder(key, lambda: self.path(key))

    def own_file(self, key: str) -> Path:
        """The same: its bytes are nowhere else."""
        return self.path(key)

    def _name(self, key: str) -> str:
        if not _KEY.fullmatch(key):
            raise CorruptPayload(f"{key!r} is not a blob key")
        return f"{self._folder}/{key}"

    def put(self, key: str, data: Data) -> None:
        """Store ``data`` unless the key exists."""
        if not self.touch(key):
            self._write(key, data, synced=True)

    def put_file(self, key: str, path: Path) -> None:
        """Store a file's bytes unless the key exists; nobody writes to the copy by mistake."""
        if self.touch(key):
            return

        def copy(fd: int) -> None:
            try:
                file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed below; errors of the copy are others
            except OSError as error:
                raise InvalidInput(f"{path} cannot be read: {error}") from error
            digest = hashlib.sha256()
            with file:
                while piece := file.read(COPY_BYTES):
                    digest.update(piece)
                    _write_parts(fd, (piece,))
            if digest.hexdigest() != key.rpartition("/")[2]:
                raise InvalidInput(f"{path} changed while it was read")
            os.fchmod(fd, 0o400)

        self._write_by(key, copy, synced=True)

    def claim(self, key: str, data: bytes) -> bytes:
        """Store ``data`` unless the key exists, and return what is stored."""
        if self._write(key, data, synced=False):
            return data
        return self.get(key)

    def _write(self, key: str, data: Data, *, synced: bool) -> bool:
        """Write a blob; False if there is one, which stays."""
        return self._write_by(key, lambda fd: _write_parts(fd, parts_of(data)), synced=synced)

    def _write_by(self, key: str, write: Callable[[int], None], *, synced: bool) -> bool:
        path = self.path(key)
        beside = path.with_name(f".{secrets.token_hex(8)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(beside, "xb", buffering=0) as file:
                write(file.fileno())
                if synced:
                    os.fsync(file.fileno())
            try:
                os.link(beside, path)  # unlike a rename, never replaces a blob that came first
                is_first = True
            except FileExistsError:
                is_first = False
            if synced:
                self._sync_folders(path)
        except OSError as error:
            raise GridUnavailable(f"blob {key} cannot be written: {error}") from error
        finally:
            beside.unlink(missing_ok=True)
        return is_first

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
        return bytes(self.get_range(key, 0, -1))

    def get_range(self, key: str, start: int, length: int) -> Buffer:
        """Read a part of a blob."""
        try:
            with open(self.path(key), "rb", buffering=0) as file:
                if length < MAPPED_BYTES:
                    file.seek(start)
                    return file.read(length)
                return _mapped(file, start, length) or _read_pages(file, start, length)
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
        """Delete the folder ``prefix`` (which ends with a slash), and those above it that are empty then."""
        path = self.path(prefix.removesuffix("/"))
        shutil.rmtree(path, ignore_errors=True)
        for folder in path.parents:
            if folder == self._folder:
                return
            try:
                folder.rmdir()
            except OSError:  # not empty
                return


def _write_parts(fd: int, parts: Sequence[Buffer]) -> None:
    """All of the parts, from where they are."""
    left = deque(memoryview(part) for part in parts if len(part))
    while left:
        written = os.writev(fd, list(islice(left, PARTS_AT_ONCE)))
        while left and written >= len(left[0]):
            written -= len(left.popleft())
        if written:
            left[0] = left[0][written:]


def _mapped(file: FileIO, start: int, length: int) -> memoryview | None:
    """The bytes where they lie in the machine's memory, if they can be mapped.

    Blobs are never written to again, and a file that is deleted stays for those who have mapped it. Whoever writes to
    the bytes has written to a page of his own. macOS would have its drive write all that it holds, at each map.
    """
    if sys.platform != "linux" or not may_be_mapped(file.fileno()):
        return None
    before = start % mmap.ALLOCATIONGRANULARITY
    try:
        _bring_in(file, start, length)
        pages = mmap.mmap(
            file.fileno(), before + length, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE, offset=start - before
        )
    except (OSError, ValueError):  # a disk that fails, no room for a map, none in this file system, or a shorter file
        return None
    return memoryview(pages)[before:]


def _bring_in(file: FileIO, start: int, length: int) -> None:
    """Have the kernel read from the disk what is not in its memory.

    A page that it could not read would be no error for whoever looks at it in a map, but the process's end; and other
    threads run while this one waits for the disk, as they do not while the module's calls of madvise do.
    """
    scratch, stop = [bytearray(SCRATCH_BYTES)], start + length
    while start < stop and (read := os.preadv(file.fileno(), scratch, start)):
        start += read


def _read_pages(file: FileIO, start: int, length: int) -> memoryview:
    """At most ``length`` bytes, in pages of their own that go with them: allocators keep some of what they gave."""
    file.seek(start)
    reserved = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):  # small ones take longer to be got than to be filled
        with contextlib.suppress(OSError):  # a kernel that was built without
            reserved.madvise(mmap.MADV_HUGEPAGE)
    pages, at = memoryview(reserved), 0
    while at < length and (read := file.readinto(pages[at:])):
        at += read
    return pages[:at]
