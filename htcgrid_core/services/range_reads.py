"""Parts of a large payload, read by range: no more of it than is asked for, and each byte verified."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from htcgrid_core.codecs import pieces
from htcgrid_core.codecs.buffers import Buffer
from htcgrid_core.codecs.mapped import ALIGNED_BYTES, MAPPED_BYTES
from htcgrid_core.codecs.pieces import PIECE_BYTES
from htcgrid_core.codecs.stored_part import StoredPart
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.domain.payload import Payload
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import payloads
from htcgrid_core.services.call_retries import with_retries


def range_pays(payload: Payload, share: float = 0.0) -> bool:
    """Whether reading ``share`` of a payload by range takes less time than reading it whole, for one call more."""
    return payload.data is None and payload.size * (1.0 - share) > limits.RANGE_PAYS_BYTES


class RangeReader:
    """The body of a payload in the blob store. The first call brings its table and its first piece."""

    def __init__(self, plane: Plane, session_id: str, spec: SessionSpec, what: str, payload: Payload) -> None:
        """Read the beginning.

        Raises:
            CorruptPayload: it is not there, not whole, or not signed by this grid.
        """
        self._plane = plane
        self._key = payloads.key_of(session_id, what, payload)
        self._at = payload.at or 0
        self._text = f"the {what} of session {session_id}"
        self._pieces: dict[int, Buffer] = {}

        def begin() -> pieces.Table:
            data = self._get(0, min(payload.size, pieces.table_bytes(payload.size) + PIECE_BYTES))
            table = payloads.table_in(plane, session_id, spec, what, payload, data)
            table.verify(0, data[table.at :], self._text)
            self._pieces[0] = data[table.at :]
            return table

        self._table = payloads.repeated(begin)
        self.size = self._table.length

    def read(self, start: int, stop: int) -> Buffer:
        """The body from ``start`` until ``stop``; a large part is kept by nobody else.

        Raises:
            CorruptPayload: it does not reach so far, or what was read is not what was written.
        """
        if not 0 <= start <= stop <= self.size:
            raise CorruptPayload(f"{self._text}: bytes {start} to {stop} of {self.size}")
        first = start // PIECE_BYTES
        if stop - start >= MAPPED_BYTES and not self._pieces.keys() >= set(_numbers(start, stop)):
            # What is aligned in the blob is aligned where it is read, a map or other pages (codecs.mapped).
            lead = (self._at + self._table.at) % ALIGNED_BYTES
            data = payloads.repeated(lambda: self._verified(first, (stop - 1) // PIECE_BYTES, lead))
            return memoryview(data)[start - first * PIECE_BYTES : stop - first * PIECE_BYTES]
        self.fetch([(start, stop)])
        found = b"".join(self._pieces[number] for number in _numbers(start, stop))
        return found[start - first * PIECE_BYTES : stop - first * PIECE_BYTES]

    def part(self, path: str, start: int) -> StoredPart:
        """The body from ``start`` on, for others to read and to verify, of the blob whose file this is."""
        digests = self._table.digests[start // PIECE_BYTES * pieces.DIGEST_BYTES :]
        return StoredPart(path, self._at + self._table.at, self.size, start, self.size, digests)

    def fetch(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Get ranges that ``read`` will ask for: a call for those that lie closer together than a call is worth."""
        wanted = {number for start, stop in ranges for number in _numbers(start, stop)} - self._pieces.keys()
        for first, last in _runs(sorted(wanted)):
            payloads.repeated(lambda first=first, last=last: self._fetch(first, last))  # type: ignore[misc]

    def _verified(self, first: int, last: int, lead: int = 0) -> Buffer:
        """Pieces; read with as many bytes as ``lead`` before them, which are not looked at."""
        start, stop = first * PIECE_BYTES, min(self.size, (last + 1) * PIECE_BYTES)
        data = self._get(self._table.at + start - lead, stop - start + lead)
        if lead:
            data = memoryview(data)[lead:]
        self._table.verify(first, data, self._text)
        return data

    def _fetch(self, first: int, last: int) -> None:
        data = self._verified(first, last)
        for number in range(first, last + 1):
            at = (number - first) * PIECE_BYTES
            self._pieces[number] = data[at : at + PIECE_BYTES]

    def _get(self, start: int, length: int) -> Buffer:
        data = with_retries(self._plane, lambda: self._plane.blobs.get_range(self._key, self._at + start, length))
        if len(data) != length:
            raise CorruptPayload(f"{self._text}: {len(data)} bytes of {length} from {start} on")
        return data


def _numbers(start: int, stop: int) -> range:
    """The pieces that hold a range."""
    return range(start // PIECE_BYTES, -(-stop // PIECE_BYTES))


def _runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """First and last of pieces between which less is missing than another call is worth."""
    if not numbers:
        return
    first = last = numbers[0]
    for number in numbers[1:]:
        if (number - last - 1) * PIECE_BYTES > limits.RANGE_PAYS_BYTES:
            yield first, last
            first = number
        last = number
    yield first, last
