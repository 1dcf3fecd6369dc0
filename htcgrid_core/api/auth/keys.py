"""Keys of an API: a file that only its owner can read; each key has a name, scopes, tenants and maybe an end."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import secrets
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from htcgrid_core.api.auth.principal import ALL_TENANTS, Principal, Scope
from htcgrid_core.domain.errors import GridUnavailable, InvalidInput

_log = logging.getLogger(__name__)

KEY_BYTES = 32
PREFIX = "htcgrid_"  # so that scanners of repositories find a key that was committed
LOOK_SECONDS = 1.0  # between looks whether the file has changed


class Key(BaseModel):
    """One key.

    Attributes:
        id: which is no secret; the access key id of requests that are signed with it.
        secret: the bearer token.
        name: of the principal, for the audit.
        tenants: ``*`` for all.
        expires_at: seconds since the epoch; None for never.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[A-Z0-9]{16,32}$")
    secret: str = Field(min_length=32, max_length=256, repr=False)
    name: str = Field(min_length=1, max_length=128)
    scopes: frozenset[Scope]
    tenants: frozenset[Annotated[str, Field(pattern=r"^(\*|[a-z0-9][a-z0-9-]{0,31})$")]] = Field(min_length=1)
    expires_at: float | None = None

    @property
    def principal(self) -> Principal:
        """Whose it is."""
        return Principal(self.name, self.scopes, self.tenants)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keys: list[Key]


def new_key(name: str, scopes: frozenset[Scope], tenants: frozenset[str], expires_at: float | None = None) -> Key:
    """A key that nobody has seen."""
    return Key(
        id="HTCG" + secrets.token_hex(8).upper(),
        secret=PREFIX + secrets.token_urlsafe(KEY_BYTES),
        name=name,
        scopes=scopes,
        tenants=tenants,
        expires_at=expires_at,
    )


def write_keys(path: Path, keys: list[Key]) -> None:
    """Keys as a file that only its owner can read, in the place of what was there."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w") as file:
            file.write(_File(keys=keys).model_dump_json(indent=2))
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """While nobody else changes the keys of a file: who reads them here may write what comes of it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def generated(path: Path) -> Path:
    """The file of a key for local use, with every scope and tenant; made if it is not there."""
    if not path.exists():
        with changing(path):
            if not path.exists():
                write_keys(path, [new_key("local", frozenset(Scope), frozenset({ALL_TENANTS}))])
    return path


def read_keys(path: Path) -> list[Key]:
    """The keys of a file.

    Raises:
        InvalidInput: it is not there, or no such file.
    """
    try:
        return parse_keys(path.read_bytes(), str(path))
    except OSError as error:
        raise InvalidInput(f"the keys in {path} cannot be read: {error}") from error


def parse_keys(text: str | bytes, where: str) -> list[Key]:
    """The keys of a file's text.

    Args:
        where: it was found, for the message.

    Raises:
        InvalidInput: it is none.
    """
    try:
        return _File.model_validate_json(text).keys
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise InvalidInput(f"{where} is no file of keys: {wrong}") from None


class Keys(Protocol):
    """Keys that somebody keeps."""

    def by_secret(self, token: str) -> Key | None:
        """The key of a bearer token, also one that has expired.

        Raises:
            GridUnavailable: they cannot be read.
        """

    def by_id(self, key_id: str) -> Key | None:
        """The key that signed a request, likewise."""


class KeyTable:
    """Keys as they are looked for."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        listed = list(keys)
        self._by_digest = {_digest(key.secret): key for key in listed}
        self._by_id = {key.id: key for key in listed}

    def by_secret(self, token: str) -> Key | None:
        """See ``Keys``."""
        return self._by_digest.get(_digest(token))

    def by_id(self, key_id: str) -> Key | None:
        """See ``Keys``."""
        return self._by_id.get(key_id)

    def by_name(self, name: str) -> Key | None:
        """The first key of a principal."""
        return next((key for key in self._by_id.values() if key.name == name), None)


class KeyFile:
    """Keys of a file, which is read again when it has changed.

    Raises:
        InvalidInput: it is not there, is no such file, or others can read it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[float, int, int] | None = None
        self._table = KeyTable()
        self._looked_at = 0.0
        self._is_unusable = False
        self._load()

    def by_secret(self, token: str) -> Key | None:
        """The key of a bearer token, also one that has expired.

        Raises:
            GridUnavailable: the file is no good any more.
        """
        self._refresh()
        return self._table.by_secret(token)

    def by_id(self, key_id: str) -> Key | None:
        """The key that signed a request, also one that has expired.

        Raises:
            GridUnavailable: the file is no good any more.
        """
        self._refresh()
        return self._table.by_id(key_id)

    def by_name(self, name: str) -> Key | None:
        """The first key of a principal, also one that has expired.

        Raises:
            GridUnavailable: the file is no good any more.
        """
        self._refresh()
        return self._table.by_name(name)

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            if self._is_unusable or self._stamp != _stamp(self._path):
                self._load_again()
        if self._is_unusable:  # what is wrong is the operator's to know: nobody has said yet who asks
            raise GridUnavailable("the server cannot read its keys, as its log tells")

    def _load_again(self) -> None:
        try:
            self._load()
            self._is_unusable = False
        except InvalidInput as error:
            self._is_unusable = True
            _log.error("%s; until it is mended nobody is let in", error)

    def _load(self) -> None:
        try:
            stamp, found = _stamp(self._path), self._path.stat()
            # What is another user's is read as a member of its group: so Kubernetes mounts secrets.
            forbidden = 0o077 if found.st_uid == os.geteuid() else 0o037
            if stat.S_IMODE(found.st_mode) & forbidden:
                raise InvalidInput(f"others can read the keys in {self._path}: chmod 600 it, and make new keys")
        except OSError as error:
            raise InvalidInput(f"the keys in {self._path} cannot be read: {error}") from error
        self._table = KeyTable(read_keys(self._path))
        self._stamp = stamp


def _stamp(path: Path) -> tuple[float, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime, found.st_size, found.st_ino


def _digest(token: str) -> bytes:
    """Looked up in the place of the token, so that the time it takes tells nothing of other tokens."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
