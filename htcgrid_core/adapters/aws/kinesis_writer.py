"""Rows of sessions into a stream of Kinesis, each at least once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from htcgrid_core.adapters.aws.kinesis import of_kinesis
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GridUnavailable, InvalidInput
from htcgrid_core.ports.stream import StreamRow

if TYPE_CHECKING:
    from htcgrid_core.adapters.aws.clients import Clients

MOST_ROWS, MOST_BYTES = 500, 5 << 20  # of one call
ROW_BYTES = 1 << 20  # with its key; streams that take more have to be told so
KEY_CHARACTERS = 256
INDEX_CHARACTERS = 20
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 2.0


class KinesisWriter:
    """See ``StreamWriter``.

    A row's partition key is SESSION/INDEX: by it, or by what stands in the row, a reader knows a row that comes again.

    Args:
        stream: its name.
    """

    def __init__(self, clients: Clients, stream: str) -> None:
        self._clients, self._stream = clients, stream
        self.name = f"kinesis://{stream}?region={clients.region}"

    def check(self) -> None:
        """See ``StreamWriter``."""
        with of_kinesis(self._stream, self._clients.region):
            self._client.list_shards(StreamName=self._stream, MaxResults=1)

    def check_session(self, session: str) -> None:
        """See ``StreamWriter``."""
        most = KEY_CHARACTERS - INDEX_CHARACTERS
        if len(session) > most:
            raise InvalidInput(f"{self.name}: a session's name there has {most} characters at most; give name= another")

    def append(self, session: str, digest: str, rows: Iterable[StreamRow]) -> None:
        """See ``StreamWriter``: each row is there once or more, in no order."""
        for batch in _batched(self._entries(session, rows)):
            self._put(session, batch)

    @property
    def _client(self) -> Any:
        return self._clients.of("kinesis", self._clients.region)

    def _entries(self, session: str, rows: Iterable[StreamRow]) -> Iterator[tuple[dict[str, Any], int]]:
        for row in rows:
            key = f"{session}/{row.index}"
            size = len(row.data) + len(key.encode())
            if size > ROW_BYTES:
                raise InvalidInput(
                    f"{self.name}: the row of task {row.index} of session {session} has {size:,} bytes with its key, "
                    f"more than {ROW_BYTES:,}; rows before it may be there"
                )
            yield {"Data": row.data, "PartitionKey": key}, size

    def _put(self, session: str, entries: list[dict[str, Any]]) -> None:
        """Put a batch; those that a shard has no room for again, until they are there."""
        until = time.monotonic() + limits.PATIENCE_SECONDS
        pause = FIRST_PAUSE_SECONDS
        while True:
            with of_kinesis(self._stream, self._clients.region):
                answer = self._client.put_records(StreamName=self._stream, Records=entries)
            refused = [one for one in answer["Records"] if one.get("ErrorCode")]
            entries = [entry for entry, one in zip(entries, answer["Records"], strict=True) if one.get("ErrorCode")]
            if not entries:
                return
            if time.monotonic() > until:
                raise GridUnavailable(
                    f"{self.name}: {len(entries):,} rows of session {session} were refused for "
                    f"{limits.PATIENCE_SECONDS:.0f} s ({refused[0]['ErrorCode']}); it needs more shards"
                )
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _batched(entries: Iterable[tuple[dict[str, Any], int]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    total = 0
    for entry, size in entries:
        if batch and (len(batch) == MOST_ROWS or total + size > MOST_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(entry)
        total += size
    if batch:
        yield batch
