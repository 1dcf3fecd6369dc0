"""A large payload in pieces, so that a part of it can be read, and verified, without the rest.

Layout: the sealed table, then the body. A seal is 32 bytes before what it seals; the table is magic (4), the body's
length (8, little endian) and a SHA-256 of each 64 KiB of the body. Who trusts the seal may trust every piece whose
digest is right.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass

from htcgrid_core.codecs.buffers import Buffer, Data, parts_of, size_of
from htcgrid_core.domain.errors import CorruptPayload

MAGIC = b"HGP1"
PIECE_BYTES = 1 << 16
SEAL_BYTES = 32
_HEAD = struct.Struct("<4sQ")
DIGEST_BYTES = 32  # of SHA-256, for which processors have instructions: it is quicker than BLAKE2


@dataclass(frozen=True, slots=True)
class Table:
    """What is known of a body before any of it is read.

    Attributes:
        at: where the body begins behind the seal and the table.
        length: of the body, in bytes.
        digests: of its pieces, one after another.
    """

    at: int
    length: int
    digests: bytes

    def verify(self, first: int, data: Buffer, what: str) -> None:
        """Check that ``data`` is the body from piece ``first`` on, up to the end of one.

        Raises:
            CorruptPayload: it is not.
        """
        if _digests(data) != self.digests[first * DIGEST_BYTES :][: -(-len(data) // PIECE_BYTES) * DIGEST_BYTES]:
            raise CorruptPayload(f"{what}: a digest of its {self.length:,} bytes is wrong")


def table(body: Data) -> bytes:
    """The table of a body."""
    return _HEAD.pack(MAGIC, size_of(body)) + _digests(body)


def table_bytes(size: int) -> int:
    """How long the sealed table is in a payload of ``size`` bytes."""
    fixed = SEAL_BYTES + _HEAD.size
    return fixed + DIGEST_BYTES * -(-max(0, size - fixed) // (PIECE_BYTES + DIGEST_BYTES))


def sealed_bytes(length: int) -> int:
    """How long a body of ``length`` bytes is behind its sealed table."""
    return SEAL_BYTES + _HEAD.size + DIGEST_BYTES * -(-length // PIECE_BYTES) + length


def read_table(data: bytes, size: int, what: str) -> Table:
    """The table behind its seal, which was verified, in a payload of ``size`` bytes.

    Raises:
        CorruptPayload: another format, or of a body of another length.
    """
    at = SEAL_BYTES + len(data)
    if len(data) < _HEAD.size or data[:4] != MAGIC:
        raise CorruptPayload(f"{what}: format {bytes(data[:4])!r}, not {MAGIC!r}")
    (_, length) = _HEAD.unpack_from(data)
    if at != table_bytes(size) or at + length != size:
        raise CorruptPayload(f"{what}: a table for {length:,} bytes in a payload of {size:,}")
    return Table(at, length, data[_HEAD.size :])


def seal(data: bytes) -> bytes:
    """``data`` behind its digest: a seal that tells damage, and which anybody can make."""
    return hashlib.sha256(data).digest() + data


def unseal(data: bytes, what: str) -> bytes:
    """Undo ``seal``.

    Raises:
        CorruptPayload: a bit is wrong.
    """
    if not hmac.compare_digest(seal(data[SEAL_BYTES:])[:SEAL_BYTES], data[:SEAL_BYTES]):
        raise CorruptPayload(f"{what}: the digest of its table is wrong")
    return data[SEAL_BYTES:]


def _digests(body: Data | memoryview) -> bytes:
    digests, begun, room = [], hashlib.sha256(), PIECE_BYTES
    for part in (body,) if isinstance(body, memoryview) else parts_of(body):
        view, at = memoryview(part), 0
        while at < len(view):
            begun.update(view[at : at + room])
            taken = min(room, len(view) - at)
            at, room = at + taken, room - taken
            if not room:
                digests.append(begun.digest())
                begun, room = hashlib.sha256(), PIECE_BYTES
    if room < PIECE_BYTES:
        digests.append(begun.digest())
    return b"".join(digests)
