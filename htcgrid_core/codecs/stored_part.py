"""A part of a large payload that lies in a file of this machine, not read yet: whoever reads it also verifies it.

Each piece (codecs.pieces) is read into the reader's own memory and compared there, before any of it is used: what
somebody writes to the file between the two, or later, changes nothing.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import struct
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from htcgrid_core.codecs.pieces import DIGEST_BYTES, PIECE_BYTES
from htcgrid_core.domain.errors import CorruptPayload, GridUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = struct.Struct("<QQQQI")
_MISSING = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


@dataclass(frozen=True, slots=True)
class StoredPart:
    """Reads as bytes do: it has a length and slices, which are parts, too, and ``bytes`` are made of it.

    Attributes:
        path: of the file.
        at: where in the file the payload's body begins.
        size: of the body, in bytes.
        start, stop: of the part, in the body.
        digests: SHA-256 of each piece that holds some of the part, one after another, from a table that was verified.
    """

    path: str
    at: int
    size: int
    start: int
    stop: int
    digests: bytes

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, where: slice) -> StoredPart:
        begin, end, _ = where.indices(len(self))
        start, stop = self.start + begin, self.start + max(begin, end)
        first = start // PIECE_BYTES - self.start // PIECE_BYTES
        last = -(-stop // PIECE_BYTES) - self.start // PIECE_BYTES
        digests = self.digests[first * DIGEST_BYTES : last * DIGEST_BYTES]
        return replace(self, start=start, stop=stop, digests=digests)

    def __bytes__(self) -> bytes:
        """All of it.

        Raises:
            CorruptPayload: it is not there, or not what was written.
            GridUnavailable: it cannot be read now, as when descriptors are short.
        """
        with self._open() as file:
            return file.read()

    def unpickled(self) -> Any:
        """The value of a pickle that was signed. Large buffers are read to where they stay, without another copy.

        Raises:
            CorruptPayload, GridUnavailable: as for ``bytes``.
            Exception: whatever loading it raises.
        """
        with self._open() as file:
            return pickle.load(file)  # noqa: S301 - no byte gets there that the signed digests do not tell

    @contextmanager
    def _open(self) -> Iterator[io.BufferedReader]:
        try:
            with io.BufferedReader(_VerifiedPieces(self), PIECE_BYTES) as file:
                yield file  # type: ignore[misc]  # typeshed knows a reader by the class of what it reads from
        except OSError as error:
            if error.filename != self.path:
                raise
            if isinstance(error, _MISSING):
                raise CorruptPayload(f"{self.path} is missing") from error
            raise GridUnavailable(f"{self.path} cannot be read now: {error}") from error

    def packed(self) -> bytes:
        """As bytes, for another process."""
        path = os.fsencode(self.path)
        return _HEAD.pack(self.at, self.size, self.start, self.stop, len(path)) + path + self.digests


def unpack(data: bytes) -> StoredPart:
    """Undo ``StoredPart.packed``."""
    at, size, start, stop, length = _HEAD.unpack_from(data)
    digests_at = _HEAD.size + length
    return StoredPart(os.fsdecode(data[_HEAD.size : digests_at]), at, size, start, stop, data[digests_at:])


class _VerifiedPieces(io.RawIOBase):
    """A part's bytes: whole pieces are read to where they are wanted, others by way of here."""

    def __init__(self, part: StoredPart) -> None:
        self._part, self._at = part, part.start
        self._first = part.start // PIECE_BYTES
        self._fd = os.open(part.path, os.O_RDONLY | os.O_CLOEXEC)
        self._held, self._piece = -1, memoryview(bytearray(PIECE_BYTES))

    def readable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            os.close(self._fd)
        super().close()

    def readinto(self, buffer: Any) -> int:
        """The next bytes, as many as there is room for."""
        room, done = memoryview(buffer).cast("B"), 0
        room = room[: self._part.stop - self._at]
        while done < len(room):
            done += self._next(room[done:])
        return done

    def _next(self, room: memoryview) -> int:
        number, begin = divmod(self._at, PIECE_BYTES)
        length = min(PIECE_BYTES, self._part.size - number * PIECE_BYTES)
        if begin == 0 and length <= len(room):
            self._read(number, room[:length])
        else:
            if number != self._held:
                self._held = -1
                self._read(number, self._piece[:length])
                self._held = number
            length = min(length - begin, len(room))
            room[:length] = self._piece[begin : begin + length]
        self._at += length
        return length

    def _read(self, number: int, place: memoryview) -> None:
        part, at = self._part, (number - self._first) * DIGEST_BYTES
        try:
            read = os.preadv(self._fd, [place], part.at + number * PIECE_BYTES)
        except OSError as error:
            raise GridUnavailable(f"{part.path} cannot be read now: {error}") from error
        if read < len(place) or hashlib.sha256(place).digest() != part.digests[at : at + DIGEST_BYTES]:
            raise CorruptPayload(f"{part.path}: a digest of the {part.size:,} bytes from {part.at} on is wrong")
