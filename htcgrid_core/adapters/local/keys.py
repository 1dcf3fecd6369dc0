"""The keys of an embedded grid: the file ``key``, and later ones in the folder ``keys``, named by their numbers."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

from htcgrid_core.codecs.signing import KEY_BYTES, Key
from htcgrid_core.disk.private import OTHERS, make_private
from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.ports.keyring import FIRST, StoredKey, StoredKeys


class FileKeys:
    """Files that are their owner's alone.

    Args:
        root: the grid's folder, which is there.
    """

    def __init__(self, root: Path) -> None:
        self._first = root / "key"
        self._later = root / "keys"

    def read(self) -> StoredKeys:
        """All of them; the first is made if there is none.

        Raises:
            GridUnavailable: they can be neither read nor made, or are not this user's secrets.
        """
        try:
            while not (numbers := self._numbers()):
                _make(self._first)
            return StoredKeys(tuple(key for number in numbers if (key := self._read(number)) is not None))
        except OSError as error:
            raise GridUnavailable(f"the grid's key cannot be read or made: {error}") from error

    def make(self, number: int) -> None:
        """Make a key, unless there is one of this number already."""
        try:
            if number != FIRST:
                make_private(self._later)
            _make(self._path(number))
        except OSError as error:
            raise GridUnavailable(f"key {number} of the grid cannot be made: {error}") from error

    def drop(self, number: int) -> None:
        """Delete a key, if it is there."""
        try:
            self._path(number).unlink(missing_ok=True)
        except OSError as error:
            raise GridUnavailable(f"key {number} of the grid cannot be deleted: {error}") from error

    def _path(self, number: int) -> Path:
        return self._first if number == FIRST else self._later / str(number)

    def _numbers(self) -> list[int]:
        found = [FIRST] if os.path.lexists(self._first) else []
        if os.path.lexists(self._later):
            make_private(self._later)  # or somebody else's keys would be taken for ours
            found += sorted(int(name) for name in os.listdir(self._later) if name.isdecimal() and int(name) > FIRST)
        return found

    def _read(self, number: int) -> StoredKey | None:
        """The key, of just its length and nobody else's to read or replace; None if it was dropped meanwhile."""
        path = self._path(number)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with open(fd, "rb") as file:
            found, secret = os.fstat(file.fileno()), file.read(KEY_BYTES + 1)
        mode = stat.S_IMODE(found.st_mode)
        if found.st_uid != os.geteuid():
            raise PermissionError(f"{path} belongs to user {found.st_uid}, not to you ({os.geteuid()}): remove it")
        if mode & OTHERS:
            raise PermissionError(
                f"{path} is open to other users (mode {mode:o}), who could make workers run their code: chmod 600 "
                f"{path}, and `htcgrid keys rotate` if they may have read it"
            )
        if len(secret) != KEY_BYTES:
            raise PermissionError(
                f"{path} has {found.st_size} bytes, not {KEY_BYTES}: restore it, or remove it, and pickled sessions "
                "that were signed with it can no longer be read"
            )
        return StoredKey(number, Key(secret, is_first=number == FIRST), found.st_mtime)


def _make(path: Path) -> None:
    beside = path.with_name(f".key-{secrets.token_hex(8)}")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # the first of several processes wins
            os.link(beside, path)
        _sync(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
