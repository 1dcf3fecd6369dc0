"""Packages of functions: zip archives that are the same bytes for the same files, and are read without trust."""

from __future__ import annotations

import hashlib
import io
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import InvalidPackage

READ_BYTES = 1 << 20
_FIRST_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can hold
_CENTRAL_HEADER = b"PK\x01\x02"
# What reading a damaged archive raises, beside zipfile's own error.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a package; ``chunks`` are its bytes, read while they are used."""

    name: str
    executable: bool
    chunks: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Packed:
    """A package.

    Attributes:
        data: the archive.
        content: digest of names, modes and bytes, which does not depend on how they were compressed.
        names: of the files, in order.
        unpacked_bytes: their size.
    """

    data: bytes
    content: str
    names: tuple[str, ...]
    unpacked_bytes: int


def pack(entries: Iterable[Entry]) -> Packed:
    """A package of these files.

    Raises:
        InvalidPackage: a name leads out of the package or stands there twice, or it is too large.
    """
    buffer, content, names, size = io.BytesIO(), hashlib.sha256(), _Names(), 0
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for entry in sorted(entries, key=lambda entry: entry.name):
            names.add(entry.name)
            info = zipfile.ZipInfo(entry.name, _FIRST_DATE)
            info.compress_type, info.create_system = zipfile.ZIP_DEFLATED, 3  # Unix, wherever it is made
            info.external_attr = (stat.S_IFREG | (0o755 if entry.executable else 0o644)) << 16
            digest = hashlib.sha256()
            with archive.open(info, "w", force_zip64=True) as file:
                for chunk in entry.chunks:
                    size += len(chunk)
                    _check_size(size)
                    digest.update(chunk)
                    file.write(chunk)
                    if buffer.tell() > limits.MAX_PACKAGE_BYTES:
                        raise InvalidPackage(f"the package is over {limits.MAX_PACKAGE_BYTES >> 20} MiB zipped")
            content.update(f"{entry.name}\0{entry.executable:d}\0{digest.hexdigest()}\n".encode())
    if not names.files:
        raise InvalidPackage("the package is empty")
    return Packed(buffer.getvalue(), content.hexdigest(), tuple(sorted(names.files)), size)


def unpack(data: bytes) -> Iterator[Entry]:
    """The files of an archive.

    Raises:
        InvalidPackage: as ``pack``, or the archive is damaged, or holds links or devices. Sizes are counted as they
            are read, whatever the archive says.
    """
    if len(data) > limits.MAX_PACKAGE_BYTES:
        raise InvalidPackage(f"the package is over {limits.MAX_PACKAGE_BYTES >> 20} MiB zipped")
    if data.count(_CENTRAL_HEADER) > 2 * limits.MAX_PACKAGE_FILES:  # before its directory is read into memory
        raise InvalidPackage(f"the package has over {limits.MAX_PACKAGE_FILES:,} files")
    names, total = _Names(), 0

    def chunks(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
        nonlocal total
        try:
            with archive.open(info) as file:
                while chunk := file.read(READ_BYTES):
                    total += len(chunk)
                    _check_size(total)
                    yield chunk
        except InvalidPackage:
            raise
        except _DAMAGED as error:
            raise InvalidPackage(f"{info.filename!r} in the package cannot be read: {error}") from error

    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except _DAMAGED as error:
        raise InvalidPackage(f"the package is not a zip archive: {error}") from error
    for info in archive.infolist():
        mode = info.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise InvalidPackage(f"{info.filename!r} in the package is a link or device, not a file")
        name = info.filename.removeprefix("./")
        if not info.is_dir():
            names.add(name)
            yield Entry(name, bool(mode & 0o111), chunks(archive, info))


class _Names:
    """The names of a package's files, and of the folders that they are in."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self._folders: set[str] = set()

    def add(self, name: str) -> None:
        """Refuse what would be written elsewhere, over another file, or in place of a folder."""
        parts = name.split("/")
        if any(part in ("", ".", "..") for part in parts) or "\\" in name or "\0" in name:
            raise InvalidPackage(f"{name!r} in the package is not a path inside of it")
        _check_lengths(name, parts)
        folders = {"/".join(parts[:depth]) for depth in range(1, len(parts))}
        if name in self.files or name in self._folders or not self.files.isdisjoint(folders):
            raise InvalidPackage(f"{name!r} is in the package twice")
        if len(self.files) >= limits.MAX_PACKAGE_FILES:
            raise InvalidPackage(f"the package has over {limits.MAX_PACKAGE_FILES:,} files")
        self.files.add(name)
        self._folders |= folders


def _check_lengths(name: str, parts: Sequence[str]) -> None:
    """Refuse what could not be unpacked on every machine: agents would find out one by one."""
    try:
        sizes = [len(part.encode()) for part in parts]
    except UnicodeEncodeError as error:
        raise InvalidPackage(f"{name!r} in the package is not text that every machine can write as UTF-8") from error
    if max(sizes) > limits.MAX_PACKAGE_NAME_BYTES:
        longest = parts[sizes.index(max(sizes))]
        raise InvalidPackage(
            f"{longest[:40]!r}... in the package is a name of {max(sizes)} bytes, over {limits.MAX_PACKAGE_NAME_BYTES}"
        )
    if sum(sizes) + len(parts) - 1 > limits.MAX_PACKAGE_PATH_BYTES:
        raise InvalidPackage(
            f"{name[:40]!r}... in the package is a path of over {limits.MAX_PACKAGE_PATH_BYTES:,} bytes"
        )


def _check_size(unpacked: int) -> None:
    if unpacked > limits.MAX_UNPACKED_BYTES:
        raise InvalidPackage(f"the package is over {limits.MAX_UNPACKED_BYTES >> 20} MiB unpacked")
