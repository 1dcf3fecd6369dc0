"""Streams: partitions of records that keep their positions and are read again from any of them; and rows into them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """A record.

    Attributes:
        position: in its partition; the same at each reading, and of no other record there.
    """

    position: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition, or shard.

    Attributes:
        parents: those whose records come before its own: they were split or merged into it.
    """

    name: str
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StreamPage:
    """What one read brought.

    Attributes:
        records: in their order; there may be none though more follow.
        cursor: where to read on; None at the end of a partition that gets no more records.
        behind_seconds: how old the page is beside the newest record, or beside now; 0 where all has been read, infinity
            where nobody knows yet.
    """

    records: Sequence[StreamRecord]
    cursor: Any
    behind_seconds: float


class StreamReader(Protocol):
    """One stream. Every method may raise GridUnavailable and AccessDenied.

    Attributes:
        name: the same from wherever it is read, without secrets: tokens are made of it.
        pause_seconds: between two reads of one partition, as its service wants it.
    """

    name: str
    pause_seconds: float

    def partitions(self) -> list[Partition]:
        """All that can be read.

        Raises:
            InvalidInput: there is no such stream.
        """

    def cursor(self, partition: str, *, at: str | None = None, after: str | None = None, since: float | None) -> Any:
        """Where to begin: at or after a position, or with what came at a time or later; of None, with the oldest.

        Args:
            since: seconds since the epoch; of no account where a position is given.

        Raises:
            RecordsGone: the position, or what is after it, is not there any more, as far as the stream tells.
        """

    def read(self, cursor: Any, limit: int) -> StreamPage:
        """Up to so many records.

        Raises:
            CursorExpired: it is too old; make another.
            RecordsGone: what was to be read has left the stream, as far as that tells.
        """

    def close(self) -> None:
        """Let go of connections."""


class CursorExpired(Exception):
    """A cursor that is too old to be read from."""


class RecordsGone(Exception):
    """Records that were still to be read have left the stream.

    Attributes:
        first: the position that is not there.
        oldest: of what is there, or where that will be.
    """

    def __init__(self, partition: str, first: str, oldest: str) -> None:
        super().__init__(f"partition {partition} begins at {oldest}, after {first}")
        self.partition, self.first, self.oldest = partition, first, oldest


@dataclass(frozen=True, slots=True)
class StreamRow:
    """A row of a session, as a stream gets it.

    Attributes:
        index: its task's.
        data: the row as JSON.
    """

    index: int
    data: bytes


class StreamWriter(Protocol):
    """A stream to which sessions are appended.

    Attributes:
        name: for messages and manifests, without secrets.
    """

    name: str

    def check(self) -> None:
        """Look whether it can be written to.

        Raises:
            InvalidInput, AccessDenied, GridUnavailable: it cannot.
        """

    def check_session(self, session: str) -> None:
        """Look whether rows can stand under this name.

        Raises:
            InvalidInput: they cannot.
        """

    def append(self, session: str, digest: str, rows: Iterable[StreamRow]) -> None:
        """Append a session's rows, so that a reader can tell those that are appended again.

        Args:
            digest: of the rows.

        Raises:
            InvalidInput: they do not fit.
            GridUnavailable: nobody knows whether all was written; do it again.
        """
