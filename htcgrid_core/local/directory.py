"""The directory of an embedded grid, and its plane."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from htcgrid_core.adapters.local.blobs import FileBlobs
from htcgrid_core.adapters.local.clock import SystemClock
from htcgrid_core.adapters.local.doorbell import FifoDoorbell
from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.adapters.local.sqlite.queue import TableQueue
from htcgrid_core.adapters.local.sqlite.store import SqliteStore
from htcgrid_core.disk.private import OTHERS, make_private
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.ports.plane import Plane

HOME_VARIABLE = "HTCGRID_HOME"
KEY_BYTES = 32
DATABASE_PATH_BYTES = 504  # 512, less the longest ending that SQLite appends


@dataclass(frozen=True)
class Directory:
    """Where an embedded grid keeps everything."""

    root: Path

    @classmethod
    def default(cls) -> Directory:
        """``$HTCGRID_HOME``, or ``~/.htcgrid``.

        Raises:
            GridUnavailable: there is no such place, since this user has no home, or the working folder is gone.
        """
        home = os.environ.get(HOME_VARIABLE)
        try:
            # Absolute, since its agents have another working directory.
            return cls(Path(home).expanduser().absolute() if home else Path.home() / ".htcgrid")
        except (RuntimeError, OSError) as error:
            raise GridUnavailable(
                f"the grid's directory is not known: {error}; name one as local:///PATH or {HOME_VARIABLE}"
            ) from error

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.root / "grid.db"

    @property
    def blobs(self) -> Path:
        """Large payloads, functions, shared inputs."""
        return self.root / "blobs"

    @property
    def bells(self) -> Path:
        """Doorbells."""
        return self.root / "bells"

    @cached_property
    def agents(self) -> Path:
        """Locks and logs of agents."""
        return self.root / "agents"

    @property
    def packages(self) -> Path:
        """Packages of deployed functions as workers see them."""
        return self.root / "packages"

    @property
    def key_file(self) -> Path:
        """Where ``key`` is kept."""
        return self.root / "key"

    def prepare(self) -> None:
        """Make the folders, readable by their owner only.

        A directory that was there and that others may read keeps its mode, but they cannot enter what is made in it.

        Raises:
            GridUnavailable: they cannot be made or written to, or others could have put something there.
        """
        try:
            if (length := len(os.fsencode(self.database))) > DATABASE_PATH_BYTES:
                too_long = os.strerror(errno.ENAMETOOLONG)
                raise OSError(f"{too_long}: {length} bytes to its database, of {DATABASE_PATH_BYTES} that SQLite takes")
            make_private(self.root, may_be_read=True)
            for folder in (self.blobs, self.bells, self.agents):
                make_private(folder)
            if not os.access(self.root, os.W_OK | os.X_OK):
                raise PermissionError(f"{self.root} is not writable")
        except OSError as error:
            raise GridUnavailable(
                f"the grid's directory cannot be used: {error}; name another one as local:///PATH or {HOME_VARIABLE}"
            ) from error

    def key(self) -> bytes:
        """The secret that pickled payloads are signed with; made on first use.

        Raises:
            GridUnavailable: it can be neither read nor made, or is not this user's secret.
        """
        path = self.key_file
        try:
            if not os.path.lexists(path):
                _make_key(path)
            return _read_key(path)
        except OSError as error:
            raise GridUnavailable(f"the grid's key cannot be read or made: {error}") from error


def _make_key(path: Path) -> None:
    beside = path.with_name(f".key-{secrets.token_hex(8)}")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # the first of several processes wins
            os.link(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _read_key(path: Path) -> bytes:
    """The key, of just this length and nobody else's to read or replace."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        found, key = os.fstat(file.fileno()), file.read(KEY_BYTES + 1)
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid != os.geteuid():
        raise PermissionError(f"{path} belongs to user {found.st_uid}, not to you ({os.geteuid()}): remove it")
    if mode & OTHERS:
        raise PermissionError(
            f"{path} is open to other users (mode {mode:o}), who could make workers run their code: chmod 600 {path}, "
            "or replace the directory if they may have read it"
        )
    if len(key) != KEY_BYTES:
        raise PermissionError(
            f"{path} has {found.st_size} bytes, not {KEY_BYTES}: restore it, or remove it, and pickled sessions that "
            "were signed with it can no longer be read"
        )
    return key


def open_plane(directory: Directory) -> Plane:
    """The planes of the grid in ``directory``, made if need be.

    Raises:
        GridUnavailable, IncompatibleGrid: it cannot be used.
    """
    directory.prepare()
    key = directory.key()  # before anything is written: whoever has it decides what workers load
    database = Database(directory.database)
    return Plane(
        store=SqliteStore(database),
        queue=TableQueue(database),
        blobs=FileBlobs(directory.blobs),
        clock=SystemClock(),
        doorbell=FifoDoorbell(directory.bells),
        key=key,
        time_slice_seconds=limits.LOCAL_TIME_SLICE_SECONDS,
    )
