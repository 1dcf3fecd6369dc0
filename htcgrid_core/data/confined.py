"""Places that others name and the server reads: below a registered prefix, and never through a link out of it."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from htcgrid_core.data.places import DELTA_LOG, MAGIC, Found, Place, RemotePlace, base_of, is_hidden, of_delta
from htcgrid_core.domain.errors import InvalidInput

FILE = "file://"
SCHEMES = ("s3://", FILE)
_NAMES = r"(?:[^\x00-\x1f\x7f\\%?#*\[\]/]+/)"
_PREFIX = re.compile(rf"(?:s3://[a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9]/{_NAMES}*|file:///{_NAMES}+)")
# What a part of a path, a storage's URI or a pattern would mean something else by. ``?`` begins an URI's options, such
# as another endpoint, and so is no wildcard here.
_REFUSED = re.compile(r"[\x00-\x1f\x7f\\%?#]")


def check_prefix(prefix: str) -> None:
    """Whether an operator can register it.

    Raises:
        InvalidInput: it is no prefix.
    """
    if not _PREFIX.fullmatch(prefix) or {".", ".."} & set(prefix.split("/")):
        raise InvalidInput(f"{prefix!r} is no prefix: write s3://BUCKET/PREFIX/ or file:///FOLDER/")


def prefix_of(place: str, prefixes: Sequence[str]) -> str:
    """Which of the prefixes a place lies below; nothing is read for this.

    Raises:
        InvalidInput: it lies below none of them, or may mean another place than it seems to.
    """
    found = next((one for one in prefixes if place.startswith(one) or f"{place}/" == one), None)
    if found is None:
        listed = ", ".join(prefixes) or "none"
        raise InvalidInput(f"{place!r} is not below a prefix that this server reads for the tenant: {listed}")
    rest = place[len(found) :]
    if _REFUSED.search(rest) or {"", ".", ".."} & set(rest.removesuffix("/").split("/") if rest else ()):
        raise InvalidInput(f"{place!r} is not read: a path has no %, ?, #, backslashes, '.', '..' or empty parts")
    return found


def confined(place: str, prefix: str) -> Place:
    """A place below a prefix, which ``prefix_of`` has found."""
    if not prefix.startswith(FILE):
        return RemotePlace(place)
    return ConfinedPlace(place.removeprefix(FILE), prefix.removeprefix(FILE))


class ConfinedPlace:
    """Files of this machine below a folder. Links below it are refused, wherever they lead; see ``places.Place``.

    In a pattern ``*`` stands for any text, with ``/`` in it, as it does in object storage.
    """

    def __init__(self, path: str, root: str) -> None:
        self.name = path
        self._root = os.path.realpath(root)  # the operator's own folder may be a link
        inside = os.path.relpath(path, root)
        self._path = self._root if inside == "." else os.path.join(self._root, inside)

    def files(self) -> list[Found]:
        """See ``Place``."""
        is_pattern = bool(MAGIC.search(self._path)) and not os.path.lexists(self._path)
        base = base_of(self._path) if is_pattern else self._path
        self._check(base)
        if os.path.isfile(base):
            return [Found(base, os.path.basename(base), *self.look(base))]
        found = [path for path in _below(base) if not is_pattern or fnmatch.fnmatchcase(path, self._path)]
        if not found:
            raise InvalidInput(f"{self.name}: there are no files to read")
        return [Found(path, os.path.relpath(path, base), *self.look(path)) for path in sorted(found)]

    def look(self, path: str) -> tuple[int, int]:
        """See ``Place``."""
        self._check(path)
        try:
            told = os.lstat(path)
        except OSError as error:
            raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
        return told.st_size, told.st_mtime_ns

    def open(self, path: str) -> BinaryIO:
        """See ``Place``. What was opened is looked at: a folder of its path may become a link at any moment."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
        try:
            told = os.fstat(fd)
            self._check(path)
            if not stat.S_ISREG(told.st_mode) or not os.path.samestat(told, os.lstat(path)):
                raise InvalidInput(f"{path} is not read: it is no file, or was replaced meanwhile")
            return os.fdopen(fd, "rb")
        except OSError as error:
            os.close(fd)
            raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
        except BaseException:
            os.close(fd)
            raise

    def _check(self, path: str) -> None:
        """Whether no part of a path is a link.

        Raises:
            InvalidInput: one is, or it leads out of the folder.
        """
        if os.path.realpath(path) != path or os.path.commonpath((path, self._root)) != self._root:
            raise InvalidInput(f"{self.name} is not read: there is a link at {path}, and none is followed here")


def _below(folder: str) -> Iterator[str]:
    for at, folders, names in os.walk(folder, followlinks=False):
        if DELTA_LOG in folders:
            raise of_delta(at)
        folders[:] = [name for name in folders if not is_hidden(name)]
        for name in [*folders, *(one for one in names if not is_hidden(one))]:
            path = os.path.join(at, name)
            if os.path.islink(path):
                raise InvalidInput(f"{path} is a link, and none is followed here")
        yield from (os.path.join(at, name) for name in names if not is_hidden(name))
