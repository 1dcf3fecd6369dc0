"""A stream in memory, whose shards end and become others as those of Kinesis do, which no emulator has."""

from __future__ import annotations

import json
from typing import Any

from htcgrid_core.ports.stream import CursorExpired, Partition, StreamPage, StreamRecord


class MemoryStream:
    """See ``StreamReader``.

    Attributes:
        reads: which partition was read when, in their order.
        expiring: cursors that have expired: the next so many reads find theirs to be one.
    """

    name = "memory://stream"
    pause_seconds = 0.0

    def __init__(self) -> None:
        self.shards: dict[str, tuple[Partition, list[StreamRecord], bool]] = {}
        self.reads: list[str] = []
        self.expiring = 0
        self._next = 0

    def add(self, shard: str, *values: Any, parents: tuple[str, ...] = ()) -> None:
        """Put records into a shard, which is made if there is none; bytes as they are, all else as JSON."""
        partition, records, ended = self.shards.get(shard, (Partition(shard, parents), [], False))
        assert not ended
        for value in values:
            self._next += 1
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            records.append(StreamRecord(f"{self._next:06d}", data))
        self.shards[shard] = (partition, records, ended)

    def end(self, shard: str) -> None:
        """It gets no more records."""
        partition, records, _ = self.shards[shard]
        self.shards[shard] = (partition, records, True)

    def partitions(self) -> list[Partition]:
        return [partition for partition, _, _ in self.shards.values()]

    def cursor(self, partition: str, *, at: str | None = None, after: str | None = None, since: float | None) -> Any:
        records = self.shards[partition][1]
        return partition, sum(1 for one in records if one.position <= (after or "") or one.position < (at or ""))

    def read(self, cursor: Any, limit: int) -> StreamPage:
        shard, start = cursor
        if self.expiring:
            self.expiring -= 1
            raise CursorExpired
        self.reads.append(shard)
        _, records, ended = self.shards[shard]
        found = records[start : start + limit]
        behind = len(records) - start - len(found)
        is_over = ended and not behind
        return StreamPage(found, None if is_over else (shard, start + len(found)), float(behind))

    def close(self) -> None:
        pass
