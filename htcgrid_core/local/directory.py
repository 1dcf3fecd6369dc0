"""The directory of an embedded grid, and its plane."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from urllib.parse import quote

from htcgrid_core.adapters.local.blobs import FileBlobs
from htcgrid_core.adapters.local.clock import SystemClock
from htcgrid_core.adapters.local.doorbell import FifoDoorbell
from htcgrid_core.adapters.local.keys import FileKeys
from htcgrid_core.adapters.local.sqlite.audit_log import SqliteAuditLog
from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.adapters.local.sqlite.outbox import SqliteOutbox
from htcgrid_core.adapters.local.sqlite.queue import TableQueue
from htcgrid_core.adapters.local.sqlite.store import SqliteStore
from htcgrid_core.adapters.messenger import WorldMessenger
from htcgrid_core.adapters.traces import process_traces
from htcgrid_core.disk.cache import DiskCache
from htcgrid_core.disk.private import make_private
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GridUnavailable, UnknownGrid
from htcgrid_core.domain.prices import FREE
from htcgrid_core.domain.retention import STANDARD
from htcgrid_core.local import kept, this_process
from htcgrid_core.ports.keyring import Keyring
from htcgrid_core.ports.messenger import Messenger
from htcgrid_core.ports.plane import Plane

HOME_VARIABLE = "HTCGRID_HOME"
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
            root = Path(home).expanduser() if home else Path.home() / ".htcgrid"
            return cls(root.absolute())  # since its agents have another working directory
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
            if not _is_utf8(self.root):
                raise OSError(f"the name {str(self.root)!r} is not UTF-8, as a grid's URL is")
            make_private(self.root, may_be_read=True)
            for folder in (self.blobs, self.bells, self.agents):
                make_private(folder)
            if not os.access(self.root, os.W_OK | os.X_OK):
                raise PermissionError(f"{self.root} is not writable")
        except OSError as error:
            raise _unusable(error) from error

    def require(self) -> None:
        """For those who only look.

        Raises:
            UnknownGrid: there is no grid here.
            GridUnavailable: nobody can tell.
        """
        try:
            self.database.stat()
        except FileNotFoundError:
            raise UnknownGrid(f"there is no grid in {self.root} on this machine: the first submit makes it") from None
        except OSError as error:
            raise _unusable(error) from error

    def keys(self) -> FileKeys:
        """The secrets that pickled payloads are signed with."""
        return FileKeys(self.root)


def _unusable(error: OSError) -> GridUnavailable:
    return GridUnavailable(
        f"the grid's directory cannot be used: {error}; name another one as local:///PATH or {HOME_VARIABLE}"
    )


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True)
class LocalPlane:
    """The planes, with what only this kind of grid has."""

    plane: Plane
    doorbell: FifoDoorbell
    database: Database


def open_local(directory: Directory, cache_bytes: int = limits.CACHE_BYTES) -> LocalPlane:
    """The planes of the grid in ``directory``, made if need be.

    Args:
        cache_bytes: of what is unpacked for tasks, which agents ask for.

    Raises:
        GridUnavailable, IncompatibleGrid: it cannot be used.
        InvalidInput: the environment asks for traces in a way that is no good.
    """
    directory.prepare()
    keys = Keyring(directory.keys())  # before anything is written: whoever has it decides what workers load
    database = Database(directory.database)
    doorbell, found = FifoDoorbell(directory.bells), os.stat(directory.root)
    plane = Plane(
        store=SqliteStore(database),
        queue=TableQueue(database),
        blobs=FileBlobs(directory.blobs, DiskCache(directory.packages, cache_bytes)),
        clock=SystemClock(),
        doorbell=doorbell,
        keys=keys,
        time_slice_seconds=limits.LOCAL_TIME_SLICE_SECONDS,
        url=f"local://{quote(str(directory.root.absolute()))}",
        identity=f"local:{found.st_dev}/{found.st_ino}",
        outbox=SqliteOutbox(database),
        messenger=WorldMessenger(_aws_messenger),
        traces=process_traces(),
        audit=SqliteAuditLog(database, kept.audit_seconds(os.environ)),
        actor=this_process.actor,
        prices=partial(kept.prices, os.environ, FREE),
        retention=kept.retention_rules(os.environ, STANDARD),
    )
    return LocalPlane(plane, doorbell, database)


def open_plane(directory: Directory, cache_bytes: int = limits.CACHE_BYTES) -> Plane:
    """As ``open_local``, for those who need the ports only."""
    return open_local(directory, cache_bytes).plane


def _aws_messenger() -> Messenger:
    """With the credentials and the region of this process."""
    from htcgrid_core.adapters.aws.clients import Clients  # boto3, which few grids of one machine need
    from htcgrid_core.adapters.aws.messenger import AwsMessenger
    from htcgrid_core.adapters.aws.settings import AwsSettings

    return AwsMessenger(Clients(AwsSettings()))
