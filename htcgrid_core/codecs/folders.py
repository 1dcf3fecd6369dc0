"""Staged folders: tar archives that are the same bytes for the same files, wherever they are made.

So a folder that was unpacked has the digest of the archive that it came from: whoever reads it can look whether it is
what was staged. Dates and owners are left out, and of modes all but whether a file may be executed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import CorruptPayload, InvalidInput

READ_BYTES = 1 << 20
_END = bytes(2 * tarfile.BLOCKSIZE)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file or folder below the one that is archived; ``path`` is where its bytes are."""

    name: str
    path: str
    size: int
    executable: bool
    is_folder: bool


@contextlib.contextmanager
def archived(folder: Path) -> Iterator[Path]:
    """A temporary file with the archive of a folder, of which everything is looked at before it is begun.

    Raises:
        InvalidInput: there is no file in it, something in it is neither file nor folder, cannot be read, has a name
            that is no text or leads out of it, changed while it was read; it is too large, or there is no room.
    """
    name = Path(os.path.realpath(folder)).name or "folder"
    entries = _entries(folder)
    with tempfile.TemporaryDirectory(prefix="htcgrid-") as place:
        path = Path(place) / f"{name}.tar"
        with _creating(path, folder) as file:
            for chunk in _chunks(entries):
                _write(file, chunk, folder)
        yield path


def digest_of(folder: Path) -> str:
    """The SHA-256 of the archive of a folder, in hexadecimal.

    Raises:
        InvalidInput: as for ``archived``.
    """
    digest = hashlib.sha256()
    for chunk in _chunks(_entries(folder)):
        digest.update(chunk)
    return digest.hexdigest()


def unpack(archive: Path, digest: str, folder: Path) -> None:
    """Make a read-only folder of an archive.

    Args:
        digest: of the archive; the folder is compared with it.
        folder: that does not exist yet, in one that nobody else writes to.

    Raises:
        CorruptPayload: the file is missing, damaged, or not the archive that ``archived`` makes of a folder.
        OSError: the folder cannot be written.
    """
    try:
        opened = tarfile.open(archive, "r:")  # noqa: SIM115 - closed below; errors of what is written are others
    except (tarfile.TarError, OSError, ValueError) as error:
        raise CorruptPayload(f"shared folder {digest} cannot be read: {error}") from error
    with opened:
        folder.mkdir(mode=0o700)
        total = 0
        for count, member in enumerate(_members(opened, digest)):
            total += member.size
            try:
                _check_total(count + 1, total, f"shared folder {digest}")
                _check_name(member.name)
            except InvalidInput as error:
                raise CorruptPayload(str(error)) from error
            _unpack_one(opened, member, folder, digest)
    for place, _, _ in os.walk(folder, topdown=False):
        os.chmod(place, 0o555)  # noqa: S103 - no task changes by accident what the next one reads
    check(folder, digest)


def check(folder: Path, digest: str) -> None:
    """Look whether a folder is what was staged under a digest.

    Raises:
        CorruptPayload: it is not.
    """
    try:
        found = digest_of(folder)
    except InvalidInput as error:
        raise CorruptPayload(f"shared folder {digest} is not as it was staged: {error}") from error
    if found != digest:
        raise CorruptPayload(f"shared folder {digest} does not have the digest that its name says")


# Looking at a folder


def _entries(folder: Path) -> list[_Entry]:
    """All that is in it, by name, parents before what is in them; a link to a file inside of it is that file."""
    root = os.path.realpath(folder)
    found: list[_Entry] = []
    total = 0

    def failed(error: OSError) -> None:
        raise InvalidInput(f"{error.filename} cannot be read: {error}") from error

    for place, folders, names in os.walk(root, onerror=failed):
        for name in [*folders, *names]:
            entry = _entry(root, os.path.join(place, name))
            total += entry.size
            found.append(entry)
            _check_total(len(found), total, str(folder))
    if all(entry.is_folder for entry in found):
        raise InvalidInput(f"{folder} is a folder without files: there is nothing to stage")
    return sorted(found, key=lambda entry: entry.name)


def _entry(root: str, path: str) -> _Entry:
    name = os.path.relpath(path, root).replace(os.sep, "/")
    _check_name(name)
    is_link = os.path.islink(path)
    target = os.path.realpath(path)
    if is_link and os.path.commonpath((root, target)) != root:
        raise InvalidInput(f"{path} is a link that leads out of the folder: put what it names in its place")
    try:
        status = os.stat(target)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error}") from error
    if stat.S_ISDIR(status.st_mode):
        if is_link:
            raise InvalidInput(f"{path} is a link to a folder: put what it names in its place")
        return _Entry(name, target, 0, True, True)
    if not stat.S_ISREG(status.st_mode):
        raise InvalidInput(f"{path} is neither a file nor a folder, and cannot be staged")
    if not os.access(target, os.R_OK):
        raise InvalidInput(f"{path} cannot be read: permission denied")
    return _Entry(name, target, status.st_size, bool(status.st_mode & 0o111), False)


def _check_total(count: int, size: int, what: str) -> None:
    if count > limits.MAX_STAGED_FILES:
        raise InvalidInput(f"{what} has over {limits.MAX_STAGED_FILES:,} files and folders: put an archive of it")
    if size > limits.MAX_STAGED_BYTES:
        raise InvalidInput(f"{what} has over {limits.MAX_STAGED_BYTES >> 30} GiB: put its files one by one")


def _check_name(name: str) -> None:
    """Refuse what would be written elsewhere, or cannot be on every machine."""
    if any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name:
        raise InvalidInput(f"{name!r} in the folder is not a path inside of it")
    try:
        sizes = [len(part.encode()) for part in name.split("/")]
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{name!r} in the folder is not text that every machine can write as UTF-8") from error
    if max(sizes) > limits.MAX_PACKAGE_NAME_BYTES:
        raise InvalidInput(f"{name[:40]!r}... in the folder has a name of over {limits.MAX_PACKAGE_NAME_BYTES} bytes")
    if sum(sizes) + len(sizes) - 1 > limits.MAX_PACKAGE_PATH_BYTES:
        raise InvalidInput(f"{name[:40]!r}... in the folder is a path of over {limits.MAX_PACKAGE_PATH_BYTES:,} bytes")


# Writing an archive


def _chunks(entries: list[_Entry]) -> Iterator[bytes]:
    for entry in entries:
        yield _header(entry)
        if not entry.is_folder:
            yield from _content(entry)
    yield _END


def _header(entry: _Entry) -> bytes:
    info = tarfile.TarInfo(entry.name)
    info.type = tarfile.DIRTYPE if entry.is_folder else tarfile.REGTYPE
    info.size, info.mode = entry.size, 0o755 if entry.executable else 0o644
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def _content(entry: _Entry) -> Iterator[bytes]:
    left = entry.size
    try:
        with open(entry.path, "rb", buffering=0) as file:
            while chunk := file.read(min(READ_BYTES, left + 1)):
                left -= len(chunk)
                if left < 0:
                    break
                yield chunk
    except OSError as error:
        raise InvalidInput(f"{entry.path} cannot be read: {error}") from error
    if left:
        raise InvalidInput(f"{entry.path} changed while it was read")
    yield bytes(-entry.size % tarfile.BLOCKSIZE)


@contextlib.contextmanager
def _creating(path: Path, folder: Path) -> Iterator[IO[bytes]]:
    try:
        file = open(path, "xb", buffering=0)  # noqa: SIM115 - closed below
    except OSError as error:
        raise _no_room(folder, error) from error
    with file:
        yield file


def _write(file: IO[bytes], chunk: bytes, folder: Path) -> None:
    left = memoryview(chunk)
    try:
        while left:
            left = left[file.write(left) :]
    except OSError as error:
        raise _no_room(folder, error) from error


def _no_room(folder: Path, error: OSError) -> InvalidInput:
    text = f"an archive of {folder} cannot be written to {tempfile.gettempdir()}: {error}"
    return InvalidInput(f"{text}; TMPDIR names another place")


# Reading one


def _members(archive: tarfile.TarFile, digest: str) -> Iterator[tarfile.TarInfo]:
    try:
        yield from archive
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise CorruptPayload(f"shared folder {digest} is damaged: {error}") from error


def _unpack_one(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, digest: str) -> None:
    path, what = folder / member.name, f"{member.name!r} in shared folder {digest}"
    try:
        if member.type == tarfile.DIRTYPE:
            path.mkdir(mode=0o700)
            return
        if member.type != tarfile.REGTYPE or (file := archive.extractfile(member)) is None:
            raise CorruptPayload(f"{what} is neither a file nor a folder")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with file, open(os.open(path, flags, 0o555 if member.mode & 0o111 else 0o444), "wb") as target:
            while chunk := file.read(READ_BYTES):
                target.write(chunk)
    except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
        raise CorruptPayload(f"{what} is there twice, or in no folder") from error
    except tarfile.TarError as error:
        raise CorruptPayload(f"{what} is damaged: {error}") from error
