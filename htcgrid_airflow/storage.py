"""Files on local disk and on object storage."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from airflow.sdk import ObjectStoragePath

from htcgrid_core import GridError, InvalidInput


def is_stored(name: str) -> bool:
    """Whether a name is that of an object rather than of a local file."""
    return "://" in name and not name.startswith("file://")


def open_stored(place: str | ObjectStoragePath, mode: Literal["rb", "wb"], conn_id: str | None = None) -> BinaryIO:
    """Open an object.

    Args:
        conn_id: the Airflow connection of the storage, if the URL does not name it.

    Raises:
        InvalidInput: there is none, or nobody knows such a storage here.
    """
    try:
        path: Any = ObjectStoragePath(place, conn_id=conn_id) if isinstance(place, str) else place
        return cast("BinaryIO", path.open(mode))
    except (OSError, ValueError, ImportError) as error:  # no such object, scheme, or package for it
        done = "read" if mode == "rb" else "written"
        raise InvalidInput(f"{place} cannot be {done}: {error}") from error


@contextlib.contextmanager
def whole_file(name: str, conn_id: str | None = None) -> Iterator[BinaryIO]:
    """A file that takes its name only once it is complete; on object storage it is sent there then."""
    if is_stored(name):
        with tempfile.TemporaryFile() as file:
            yield cast("BinaryIO", file)
            file.seek(0)
            with open_stored(name, "wb", conn_id) as there:
                shutil.copyfileobj(file, there)
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
