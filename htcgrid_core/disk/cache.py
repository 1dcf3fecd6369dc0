"""A folder of files and folders that were fetched or unpacked, kept while there is room.

Processes of one machine share it; the longest unused goes first. What is there under its name is whole. A folder is in
use while somebody holds a shared lock on it, which children inherit and the kernel drops; a file, or a folder that is
kept without a lock, for some minutes after it was last asked for. The folder is one user's alone, or nothing is found
in it nor put there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from htcgrid_core.disk.private import check_private, make_private
from htcgrid_core.domain import limits

KEPT = "folder-"  # begins the names of folders that nobody locks
KEPT_LOCK = ".lock-folders"
UNFINISHED = ".new-"
ADD_SECONDS = 1.0  # for which an agent, which has leases to renew, waits for its turn to make room
LOOK_SECONDS = 0.005
ABANDONED_SECONDS = 3600.0  # an unfinished file or folder of this age is nobody's any more


class DiskCache:
    """At most ``limit_bytes`` in all, unless what is in use is more."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self._limit_bytes = limit_bytes

    def find(self, name: str) -> Path | None:
        """What is kept under ``name``, if it is here; it is used now.

        Raises:
            PermissionError: others could have put something into the folder.
        """
        path = self.folder / name
        try:
            check_private(self.folder)
            _use(path)
        except FileNotFoundError:
            return None
        return path

    def add(self, name: str, write: Callable[[Path], object]) -> Path:
        """Keep what ``write`` makes at the path that it is given.

        Raises:
            OSError: it cannot be written.
        """
        make_private(self.folder)
        beside = self._beside()
        try:
            write(beside)
            with self._lock(ADD_SECONDS) as alone:
                if alone:  # else somebody unpacks something large, and the next one makes room
                    self._make_room(_size(beside))
                beside.rename(self.folder / name)
        finally:
            delete(beside)
        return self.folder / name

    def hold(self, name: str, write: Callable[[Path], object], is_whole: Callable[[Path], bool]) -> int:
        """Make a folder unless it is there, once however many want it, and lock it for this process and its children.

        Args:
            is_whole: whether one that is there is as it was made; if not, it is made anew. Whoever uses the old one
                keeps it.

        Returns:
            A descriptor; the folder stays until it is closed everywhere.

        Raises:
            OSError: it cannot be written.
        """
        make_private(self.folder)
        path = self.folder / name
        with self._lock(float("inf")):
            if path.is_dir() and not is_whole(path):
                path.rename(self._beside())
            if not path.is_dir():
                self._sweep()
                beside = self._beside()
                try:
                    write(beside)
                    self._make_room(_size(beside))
                    beside.rename(path)
                finally:
                    delete(beside)
            fd = _shared_lock(path)
            _use(path)
        os.set_inheritable(fd, True)
        return fd

    def keep(self, name: str, write: Callable[[Path], object], is_whole: Callable[[Path], bool]) -> Path:
        """Fill a folder unless it is there, once however many want it; it stays for some minutes, locked by nobody.

        It may be large: others of its kind wait for it, and nothing else does.

        Args:
            write: called with a new folder.
            is_whole: as for ``hold``.

        Raises:
            OSError: it cannot be written.
        """
        make_private(self.folder)
        path = self.folder / (KEPT + name)
        with self._lock(float("inf"), KEPT_LOCK):
            if path.is_dir() and not is_whole(path):
                path.rename(self._beside())
            if not path.is_dir():
                with self._lock(float("inf")):  # so that nobody sweeps it before it is locked
                    self._sweep()
                    beside = self._beside()
                    beside.mkdir(mode=0o700)
                    fd = _shared_lock(beside)
                try:
                    write(beside)
                    with self._lock(float("inf")):
                        self._make_room(_size(beside))
                        beside.rename(path)
                finally:
                    delete(beside)
                    os.close(fd)
            _use(path)
        return path

    def drop(self, name: str) -> None:
        """Remove a file that is not what it should be."""
        (self.folder / name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _lock(self, timeout_seconds: float, name: str = ".lock") -> Iterator[bool]:
        """Making room and folders is done by one process at a time; whether this one may."""
        until = time.monotonic() + timeout_seconds
        fd = os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while not (mine := _locked(fd)) and time.monotonic() < until:
                time.sleep(LOOK_SECONDS)
            yield mine
        finally:
            os.close(fd)

    def _beside(self) -> Path:
        return self.folder / f"{UNFINISHED}{secrets.token_hex(8)}"

    def _sweep(self) -> None:
        """Delete what processes that died have left."""
        for left in self.folder.glob(f"{UNFINISHED}*"):
            with contextlib.suppress(FileNotFoundError):  # finished just now
                if not _in_use(left) if left.is_dir() else time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
                    delete(left)

    def _make_room(self, size: int) -> None:
        """Delete what nobody uses, the longest unused first, until there is room for ``size`` bytes more."""
        kept = []
        for path in self.folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # dropped just now
                if not path.name.startswith("."):
                    kept.append((path.stat().st_mtime_ns, _size(path), path))
        total = size + sum(found[1] for found in kept)
        for _, its_size, path in sorted(kept):
            if total <= self._limit_bytes:
                return
            with contextlib.suppress(FileNotFoundError):
                if not _in_use(path):
                    doomed = self._beside()
                    path.rename(doomed)
                    delete(doomed)
                    total -= its_size


def _use(path: Path) -> None:
    now = time.time_ns()  # else the kernel writes down its last tick, and what is used at once is of one age
    os.utime(path, ns=(now, now))


def _shared_lock(folder: Path) -> int:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(fd, fcntl.LOCK_SH)
    return fd


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _in_use(path: Path) -> bool:
    if path.is_file() or path.name.startswith(KEPT):
        return time.time() - path.stat().st_mtime < limits.CACHED_BLOB_IN_USE_SECONDS
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return not _locked(fd)
    finally:
        os.close(fd)


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    places = [os.path.join(place, name) for place, _, names in os.walk(path) for name in names]
    return sum(os.lstat(place).st_size for place in places)


def delete(path: Path) -> None:
    """Delete a file or folder, read-only or not; one that is not there is deleted."""
    if path.is_file():
        path.unlink(missing_ok=True)
        return
    for place, _, _ in os.walk(path):
        os.chmod(place, 0o700)
    shutil.rmtree(path, ignore_errors=not path.exists())
