"""Where files lie: on this machine, or in a storage that pyarrow knows (s3://, gs://, abfs://)."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from htcgrid_core.data.base import missing, shown
from htcgrid_core.domain.errors import InvalidInput

MAGIC = re.compile(r"[*?\[]")
DELTA_LOG = "_delta_log"
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+://")


@dataclass(frozen=True, slots=True)
class Found:
    """A file, as it was when it was looked for.

    Attributes:
        path: whole, as whoever opens it needs it.
        inside: below the folder that was asked for, with ``/`` between.
        size: bytes.
        modified: nanoseconds since the epoch, as its storage says.
    """

    path: str
    inside: str
    size: int
    modified: int


class Place(Protocol):
    """A folder, a file, or the files of a pattern."""

    name: str

    def files(self) -> list[Found]:
        """Its files by path, as texts sort; those whose name or folder begins with ``_`` or ``.`` are none."""

    def look(self, path: str) -> tuple[int, int]:
        """Size and time of one of them now."""

    def open(self, path: str) -> BinaryIO:
        """One of them, to read it."""


def place_of(uri: str) -> Place:
    """The place that a path or URI names.

    Raises:
        InvalidInput: nobody knows such a storage here.
    """
    if uri.startswith("file://"):
        return LocalPlace(uri.removeprefix("file://"))
    return RemotePlace(uri) if _SCHEME.match(uri) else LocalPlace(os.path.expanduser(uri))


class LocalPlace:
    """Files of this machine."""

    def __init__(self, path: str) -> None:
        self.name = path

    def files(self) -> list[Found]:
        """See ``Place``."""
        base = self.name if os.path.isdir(self.name) else base_of(self.name)
        found = sorted(self._paths())
        if not found:
            raise InvalidInput(f"{self.name}: there are no files to read")
        if not os.path.isfile(self.name):
            _check_no_delta({os.path.dirname(os.path.abspath(path)) for path in found})
        return [self._found(path, base) for path in found]

    def _paths(self) -> Iterator[str]:
        if os.path.isfile(self.name):
            yield self.name
        elif os.path.isdir(self.name):
            yield from _below(self.name)
        elif MAGIC.search(self.name):
            for path in glob.glob(self.name, recursive=True):
                if os.path.isfile(path) and not is_hidden(os.path.relpath(path, base_of(self.name))):
                    yield path
        else:
            raise InvalidInput(f"{self.name}: there is no such file or folder")

    def _found(self, path: str, base: str) -> Found:
        inside = os.path.relpath(path, base) if base else path
        return Found(path, inside.replace(os.sep, "/"), *self.look(path))

    def look(self, path: str) -> tuple[int, int]:
        """See ``Place``."""
        try:
            told = os.stat(path)
        except OSError as error:
            raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
        return told.st_size, told.st_mtime_ns

    def open(self, path: str) -> BinaryIO:
        """See ``Place``."""
        try:
            return Path(path).open("rb")
        except OSError as error:
            raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error


class RemotePlace:
    """Objects of a storage that pyarrow has a file system for."""

    def __init__(self, uri: str) -> None:
        self.name = shown(uri)
        base = base_of(uri) if MAGIC.search(uri) else uri
        self._system, self._base = file_system(base)
        self._pattern = f"{self._base}{uri[len(base) :]}" if base != uri else None

    def files(self) -> list[Found]:
        """See ``Place``."""
        import pyarrow.fs as fs

        try:
            at = self._system.get_file_info(self._base)
            if at.type == fs.FileType.File:
                return [Found(self._base, at.base_name, at.size, at.mtime_ns or 0)]
            infos = self._system.get_file_info(fs.FileSelector(self._base, allow_not_found=True, recursive=True))
        except OSError as error:
            raise InvalidInput(f"{self.name} cannot be read: {error}") from error
        found = [self._found(info) for info in infos if info.type == fs.FileType.File]
        if any(DELTA_LOG in one.inside.split("/")[:-1] for one in found):
            raise of_delta(self.name)
        chosen = [one for one in found if not is_hidden(one.inside) and self._matches(one.path)]
        if not chosen:
            raise InvalidInput(f"{self.name}: there are no files to read")
        return sorted(chosen, key=lambda one: one.path)

    def _found(self, info: Any) -> Found:
        return Found(info.path, info.path[len(self._base) :].lstrip("/"), info.size, info.mtime_ns or 0)

    def _matches(self, path: str) -> bool:
        return self._pattern is None or fnmatch.fnmatchcase(path, self._pattern)

    def look(self, path: str) -> tuple[int, int]:
        """See ``Place``."""
        try:
            info = self._system.get_file_info(path)
        except OSError as error:
            raise InvalidInput(f"{path} cannot be read: {error}") from error
        return info.size or 0, info.mtime_ns or 0

    def open(self, path: str) -> BinaryIO:
        """See ``Place``."""
        try:
            return self._system.open_input_file(path)  # type: ignore[no-any-return]
        except OSError as error:
            raise InvalidInput(f"{path} cannot be read: {error}") from error


def file_system(uri: str) -> tuple[Any, str]:
    """Pyarrow's file system for a URI, and the path in it.

    Raises:
        InvalidInput: there is none, or pyarrow is not installed.
    """
    try:
        import pyarrow as arrow
        import pyarrow.fs as fs
    except ImportError as error:
        raise missing(f"{uri}: a storage", "pyarrow", error) from error
    try:
        system, path = fs.FileSystem.from_uri(uri)
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise InvalidInput(shown(f"{uri} cannot be opened: {error}")) from None  # whose text may hold a password
    return system, path


def base_of(pattern: str) -> str:
    """The folder before the first part of a path that has a wildcard in it; of a file, its folder."""
    plain = pattern[: found.start()] if (found := MAGIC.search(pattern)) else pattern
    return plain.rpartition("/")[0] or ("/" if plain.startswith("/") else "")


def _check_no_delta(folders: set[str]) -> None:
    """Refuse files of a Delta table: those of rows that were replaced lie beside the others.

    Raises:
        InvalidInput: one of the folders is in a table.
    """
    looked: set[str] = set()
    for folder in folders:
        while folder not in looked:
            looked.add(folder)
            if os.path.isdir(os.path.join(folder, DELTA_LOG)):
                raise of_delta(folder)
            folder = os.path.dirname(folder)


def of_delta(folder: str) -> InvalidInput:
    """What is raised where files of a folder are a Delta table's."""
    return InvalidInput(
        f"{folder} holds a Delta table, whose files also have rows that were deleted: give the table itself, "
        "delta:URI, and choose from it with where="
    )


def is_hidden(inside: str) -> bool:
    """Whether a file's name, or a folder's on the way to it, says that it is none of the data."""
    return any(part.startswith(("_", ".")) for part in inside.replace(os.sep, "/").split("/"))


def _below(folder: str) -> Iterator[str]:
    for at, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(("_", "."))]
        for name in folders:
            link = os.path.join(at, name)
            if os.path.islink(link) and Path(at).resolve().is_relative_to(Path(link).resolve()):
                raise InvalidInput(f"{link} is a link to a folder around it: its files would be read again and again")
        yield from (os.path.join(at, name) for name in names if not name.startswith(("_", ".")))
