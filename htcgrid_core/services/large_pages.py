"""Pages of large results: each is read where it is decoded, so that whoever streams them holds one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from htcgrid_core.codecs.buffers import Buffer
from htcgrid_core.codecs.frames import NOT_FRAMED
from htcgrid_core.codecs.outcomes import Outcome, Rows
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import OutcomePage
from htcgrid_core.services import payloads
from htcgrid_core.services.call_retries import patience_of
from htcgrid_core.services.range_reads import RangeReader


class StoredOutcome(Outcome):
    """An outcome whose payload is read from its page each time it is asked for, and kept by nobody."""

    __slots__ = ("_read", "_size")

    def __init__(self, row: Outcome, size: int, read: Callable[[], Buffer]) -> None:
        self._read, self._size = read, size
        self.index, self.failed, self.attempt = row.index, row.failed, row.attempt
        self.started, self.seconds = row.started, row.seconds
        self.stdout, self.stderr = row.stdout, row.stderr

    @property
    def payload(self) -> Buffer:  # type: ignore[override]  # an attribute there
        """The encoded result.

        Raises:
            CorruptPayload: it is not there any more, or not whole.
            GridUnavailable: the blob store could not be reached for minutes.
        """
        return self._read()

    @property
    def size(self) -> int:
        """Of its payload, in bytes."""
        return self._size


def is_large(page: OutcomePage) -> bool:
    """Whether a page's results are so large that each is worth a read of its own."""
    count = max(1, page.completed + page.failed)
    return page.payload.data is None and page.payload.size > count * limits.RANGE_PAYS_BYTES


class LargePage:
    """The outcomes of such a page; errors, which are small, are read at once."""

    def __init__(self, plane: Plane, session_id: str, spec: SessionSpec, page: OutcomePage) -> None:
        """Read the page's columns.

        Raises:
            CorruptPayload: they are not there, or not whole.
        """
        try:
            self._rows = Rows(RangeReader(plane, session_id, spec, payloads.OUTCOMES, page.payload))
        except NOT_FRAMED as error:
            raise CorruptPayload(f"a page of outcomes: its framing is wrong: {error}") from error
        self._plane = plane

    def __iter__(self) -> Iterator[Outcome]:
        patience = patience_of(self._plane)
        for number in range(len(self._rows)):
            yield patience.read(partial(self._row, number))

    def _row(self, number: int) -> Outcome:
        try:
            _, failed = self._rows.of(number)
            if failed:
                return self._rows.read(number)
            row = self._rows.row(number, b"")
        except NOT_FRAMED as error:
            raise CorruptPayload(f"a page of outcomes: its framing is wrong: {error}") from error
        read = partial(patience_of(self._plane).read, partial(self._rows.payload, number))
        return StoredOutcome(row, self._rows.length(number), read)
