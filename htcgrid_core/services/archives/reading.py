"""An archive that somebody gives, believed only once every digest in it was compared."""

from __future__ import annotations

import hashlib
import hmac
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Any

import orjson

from htcgrid_core.codecs.signing import Key
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import CorruptPayload, IncompatibleGrid, SignatureInvalid
from htcgrid_core.domain.session import SESSION_ID, SessionSpec, tenant_of
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.archives import form
from htcgrid_core.services.archives.form import Member

PIECE_BYTES = 1 << 20
LINE_BYTES = 2 * max(limits.MAX_EVENT_BYTES, limits.MAX_RESULT_BYTES)
MANIFEST_BYTES = 256 << 20
_DAMAGED = (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError, zlib.error)
_NOT_READ = (ValueError, LookupError, TypeError, AttributeError)


class ArchivedSession:
    """One session of an archive.

    Attributes:
        told: its ``session.json``.
        spec: what was asked for.
    """

    def __init__(self, archive: Archive, session_id: str) -> None:
        self.id = session_id
        self._archive = archive
        try:
            self.told: dict[str, Any] = orjson.loads(b"".join(self.lines(form.SESSION)))
            self.spec = SessionSpec.stored(orjson.dumps(self.told["spec"]).decode())
            whole = self.told["session"] == session_id and tenant_of(session_id) == self.spec.tenant
        except _NOT_READ as error:
            raise CorruptPayload(f"{form.path_of(session_id, form.SESSION)} cannot be read: {error}") from error
        if not whole:
            raise CorruptPayload(f"{form.path_of(session_id, form.SESSION)} is of another session")

    def lines(self, name: str) -> Iterator[bytes]:
        """The lines of one of its files."""
        return self._archive.lines(form.path_of(self.id, name))

    def member(self, name: str) -> Member:
        """Size and digest of one of its files."""
        return self._archive.members[form.path_of(self.id, name)]


class Archive:
    """An archive whose every file has the digest that its manifest says.

    Args:
        file: seekable.
        key: of the grid that made it; None for a key of the plane's.

    Attributes:
        members: its files.
        is_signed: whether its manifest is signed by that key, or by one of the plane's.

    Raises:
        CorruptPayload: it is damaged, or no archive.
        IncompatibleGrid: a newer release has made it.
        SignatureInvalid: its manifest was changed, or the key that was given is another.
    """

    def __init__(self, plane: Plane, file: IO[bytes], key: Key | None) -> None:
        try:
            self._zip = zipfile.ZipFile(file)
        except _DAMAGED as error:
            raise CorruptPayload(f"it is no archive of sessions, or is cut short: {error}") from error
        manifest = self._read_manifest()
        try:
            self.members = {path: Member(int(one["bytes"]), one["sha256"]) for path, one in manifest["files"].items()}
            ids = [str(one) for one in manifest["sessions"]]
            self.key_id, signature = str(manifest.pop("key")), bytes.fromhex(manifest.pop("hmac"))
        except _NOT_READ as error:
            raise CorruptPayload(f"{form.MANIFEST} cannot be read: {error}") from error
        self.is_signed = _is_signed(plane, key, self.key_id, manifest, signature)
        self._check_files(ids)
        self.sessions = [ArchivedSession(self, session_id) for session_id in ids]

    def _read_manifest(self) -> dict[str, Any]:
        try:
            with self._zip.open(form.MANIFEST) as file:
                read = file.read(MANIFEST_BYTES + 1)
            manifest: dict[str, Any] = orjson.loads(read)
            known = manifest["form"]
        except (*_DAMAGED, *_NOT_READ) as error:
            raise CorruptPayload(f"it is no archive of sessions: {form.MANIFEST} cannot be read: {error}") from error
        if known != form.FORM:
            raise IncompatibleGrid(f"the archive is of the form {known!r}, and this release reads {form.FORM}")
        return manifest

    def _check_files(self, session_ids: list[str]) -> None:
        """Whether it holds just the files that its sessions have, as they were written."""
        wrong = [one for one in session_ids if not SESSION_ID.fullmatch(one)]
        if wrong:
            raise CorruptPayload(f"{wrong[0]!r} in {form.MANIFEST} is no session's id")
        wanted = {form.path_of(session_id, name) for session_id in session_ids for name in form.FILES}
        if set(self.members) != wanted or set(self._zip.namelist()) != {*wanted, form.MANIFEST}:
            raise CorruptPayload(f"the archive does not hold just the files that its {form.MANIFEST} names")
        for path, member in self.members.items():
            digest, size = hashlib.sha256(), 0
            try:
                with self._zip.open(path) as file:
                    while (piece := file.read(PIECE_BYTES)) and size <= member.size:
                        digest.update(piece)
                        size += len(piece)
            except _DAMAGED as error:
                raise CorruptPayload(f"{path} cannot be read: {error}") from error
            if (size, digest.hexdigest()) != (member.size, member.sha256):
                raise CorruptPayload(f"{path} is not what {form.MANIFEST} says: the archive is damaged")

    def lines(self, path: str) -> Iterator[bytes]:
        """The lines of a file.

        Raises:
            CorruptPayload: one is too long, or the file has changed since it was looked at.
        """
        try:
            with self._zip.open(path) as file:
                while line := file.readline(LINE_BYTES + 1):
                    if len(line) > LINE_BYTES:
                        raise CorruptPayload(f"{path} has a line of over {LINE_BYTES:,} bytes")
                    yield line
        except _DAMAGED as error:
            raise CorruptPayload(f"{path} cannot be read: {error}") from error


def _is_signed(plane: Plane, key: Key | None, key_id: str, manifest: dict[str, Any], signature: bytes) -> bool:
    if key is not None and key.id != key_id:
        text = f"the archive is signed with key {key_id}, and the key that was given is {key.id}"
        raise SignatureInvalid(f"{text}: nothing was imported")
    known = key or next((one.key for one in plane.keys.look().keys if one.key.id == key_id), None)
    if known is None:
        return False
    # A first key's signature names no key, and another's does; which it is to the grid that made the archive, its
    # signature tells.
    told = form.json_bytes(manifest)
    made = [Key(known.secret, is_first).signature("", form.PURPOSE, told) for is_first in (True, False)]
    if not any(hmac.compare_digest(one, signature) for one in made):
        text = f"{form.MANIFEST} was changed since it was signed with key {key_id}"
        raise SignatureInvalid(f"{text}: nothing was imported")
    return True
