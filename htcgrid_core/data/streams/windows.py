"""Windows: records of one partition that were read and not yet cut, and when they are to be."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.ports.stream import Partition, StreamRecord


@dataclass(frozen=True, slots=True)
class Bounds:
    """When a window becomes a session: as soon as one of these is reached.

    Attributes:
        records: so many.
        seconds: so long after its first record was read.
        data: so many bytes of records; a larger record is a window by itself.
    """

    records: int = 1_000
    seconds: float = 10.0
    data: int = 16 << 20

    def __post_init__(self) -> None:
        for name, value in (("max_records", self.records), ("max_seconds", self.seconds), ("max_bytes", self.data)):
            if value <= 0:
                raise InvalidInput(f"{name}={value}: it is above 0")


@dataclass(slots=True)
class Window:
    """A partition as it is read.

    Attributes:
        cursor: where to read on; None before the first read, and at the end.
        records: read, and in no range.
        began: when the first of them was read (s, monotonic).
        next_read: before which it is not read again.
        caught_up: the last read brought nothing, and there was nothing more to bring.
        at_end: all has been read of a partition that gets no more.
    """

    partition: Partition
    cursor: Any = None
    records: deque[StreamRecord] = field(default_factory=deque)
    began: float = 0.0
    next_read: float = 0.0
    caught_up: bool = False
    at_end: bool = False

    def is_idle(self) -> bool:
        """Whether all that there was is in ranges."""
        return not self.records and (self.at_end or self.caught_up)

    def ready(self, bounds: Bounds, now: float, *, draining: bool) -> int:
        """How many records the next range has; 0 if it is not time yet."""
        if not self.records:
            return 0
        size = 0
        for count, record in enumerate(self.records):
            size += len(record.data)
            if count and size > bounds.data:
                return count
            if count + 1 >= bounds.records:
                return count + 1
        is_over = now - self.began >= bounds.seconds or self.at_end or (draining and self.caught_up)
        return len(self.records) if is_over else 0

    def take(self, count: int, now: float) -> list[StreamRecord]:
        """The first so many records, which leave the window."""
        self.began = now
        return [self.records.popleft() for _ in range(count)]
