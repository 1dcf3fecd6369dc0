"""Files on local disk and on object storage."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from airflow.sdk import ObjectStoragePath

from htcgrid_airflow.compat import AirflowNotFoundException
from htcgrid_core import GridError, InvalidInput

BUFFER_BYTES = 1 << 20


def is_stored(name: str) -> bool:
    """Whether a name is that of an object rather than of a local file."""
    return "://" in name and not name.startswith("file://")


def open_stored(place: str | ObjectStoragePath, conn_id: str | None = None) -> BinaryIO:
    """Open an object, to read it.

    Args:
        conn_id: the Airflow connection of the storage, if the URL does not name it.

    Raises:
        InvalidInput: there is none, or nobody knows such a storage here.
    """
    with _told(place, "read"):
        path = _path(place, conn_id) if isinstance(place, str) else place
        # Buffered, since the lines of what fsspec opens cannot be limited in length.
        return io.BufferedReader(path.fs.open(path.path, "rb"), BUFFER_BYTES)


@contextlib.contextmanager
def whole_file(name: str, conn_id: str | None = None) -> Iterator[BinaryIO]:
    """A file that takes its name only once it is complete; on object storage it is sent there then.

    Raises:
        InvalidInput: it cannot be written there.
    """
    if is_stored(name):
        with tempfile.NamedTemporaryFile() as file:
            yield cast("BinaryIO", file)
            file.flush()
            with _told(name, "written"):
                there = _path(name, conn_id)
                there.fs.put_file(file.name, there.path)  # a file object closed by an error would leave a part there
        return
    path = Path(name.removeprefix("file://"))
    beside = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, "wb") as local:
            yield local
        os.replace(beside, path)
    except GridError:  # a WaitTimeout is an OSError too
        raise
    except OSError as error:
        raise InvalidInput(f"{name} cannot be written: {error}") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def remove_file(name: str, conn_id: str | None = None) -> None:
    """Remove a file, if there is one.

    Raises:
        InvalidInput: it cannot be removed.
    """
    with _told(name, "removed"):
        if not is_stored(name):
            Path(name.removeprefix("file://")).unlink(missing_ok=True)
            return
        there = _path(name, conn_id)
        if there.fs.exists(there.path):
            there.fs.rm_file(there.path)


def _path(name: str, conn_id: str | None) -> ObjectStoragePath:
    # Airflow 3.1 takes a given None for the connection, instead of the one in the URL.
    return ObjectStoragePath(name) if conn_id is None else ObjectStoragePath(name, conn_id=conn_id)


@contextlib.contextmanager
def _told(place: str | ObjectStoragePath, done: str) -> Iterator[None]:
    """What a storage says, in one sentence with the place's name."""
    try:
        yield
    except (OSError, ValueError, ImportError, AirflowNotFoundException) as error:  # no object, scheme, package, access
        raise InvalidInput(f"{place} cannot be {done}: {error}") from error
