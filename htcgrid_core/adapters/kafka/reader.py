"""A topic of Kafka, partition by partition."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from htcgrid_core.adapters.kafka.errors import grid_error, kafka_errors
from htcgrid_core.adapters.kafka.topic import PREFERRED, KafkaTopic
from htcgrid_core.domain.errors import GridUnavailable, InvalidInput
from htcgrid_core.ports.stream import Partition, RecordsGone, StreamPage, StreamRecord

_log = logging.getLogger(__name__)
CALL_SECONDS = 10.0
SILENCE_SECONDS = 30.0  # of a partition that has more to bring, or may have
PAUSE_SECONDS = 0.02  # its client fetches by itself; a read takes what is there
MOST_RECORDS = 1_000  # in one look
HELD_RECORDS, HELD_BYTES = 10_000, 8 << 20  # of one partition, fetched and not read; then no more of it is fetched
LEAST_AGE_SECONDS = 0.001
_OURS = {
    "auto.offset.reset": "error",  # what has left the topic is told, not passed over
    "enable.auto.commit": False,  # how far a consumer is, its journal says
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "isolation.level": "read_committed",
}
_PREFERRED = {
    **PREFERRED,
    "group.id": "htcgrid",  # the client wants a group, though nothing is kept there
    "fetch.wait.max.ms": 100,  # so long a partition may wait to be begun
}


@dataclass(frozen=True, slots=True)
class KafkaCursor:
    """Where to read on: there may be no record at the offset itself."""

    partition: int
    offset: int


@dataclass(slots=True)
class _Fetched:
    """A partition as it is being fetched.

    Attributes:
        read: the offset that the next cursor has.
        position: behind all that was fetched.
        records: fetched, and not read, with their offsets and times (s).
        size: their bytes.
        is_at_end: nothing was behind ``position`` when that was last looked at.
        heard: when the last word of this partition came (s, monotonic).
        error: that was told instead of a record.
    """

    read: int
    position: int
    heard: float
    records: deque[tuple[int, bytes, float]] = field(default_factory=deque)
    size: int = 0
    is_at_end: bool = False
    is_paused: bool = False
    error: KafkaError | None = None


class KafkaReader:
    """See ``StreamReader``. Positions are offsets; aborted transactions, and markers of all, are no records."""

    pause_seconds = PAUSE_SECONDS

    def __init__(self, topic: KafkaTopic) -> None:
        self._topic = topic
        self._fetched: dict[int, _Fetched] = {}
        self._trouble: KafkaError | None = None  # the last one that is of no partition
        settings = {**_PREFERRED, **topic.settings, **_OURS, "error_cb": self._hear}
        with kafka_errors(topic, "Kafka's client"):
            self._consumer = Consumer(settings, logger=_log)
        try:
            cluster = self._metadata().cluster_id  # brokers come and go, and have several names
        except BaseException:
            self._consumer.close()
            raise
        self.name = f"kafka://{cluster}/{topic.topic}" if cluster else topic.name

    def partitions(self) -> list[Partition]:
        """See ``StreamReader``."""
        found = self._metadata().topics[self._topic.topic]
        if found.error is not None:
            raise grid_error(found.error, self._topic)
        return [Partition(str(number)) for number in sorted(found.partitions)]

    def cursor(self, partition: str, *, at: str | None = None, after: str | None = None, since: float | None) -> Any:
        """See ``StreamReader``."""
        number = int(partition)
        low, high = self._bounds(number)
        if at is None and after is None:
            return KafkaCursor(number, low if since is None else self._offset_at(number, since, high))
        offset = int(at) if at is not None else int(str(after)) + 1
        if offset < low or (at is not None and offset >= high):
            raise RecordsGone(partition, str(offset), str(low))
        if offset > high:
            raise InvalidInput(
                f"partition {partition} of {self.name} ends at {high}, before {offset}, up to where it was read: it is "
                "another topic of that name, or has lost records; name another consumer to begin anew"
            )
        return KafkaCursor(number, offset)

    def read(self, cursor: Any, limit: int) -> StreamPage:
        """See ``StreamReader``. It does not wait for the brokers: there may be nothing though more follows."""
        fetched = self._fetched.get(cursor.partition)
        if fetched is None or fetched.read != cursor.offset:
            fetched = self._begin(cursor)
        if len(fetched.records) < limit:
            self._look()
        if not fetched.records:
            self._check(cursor.partition, fetched)
        taken = [fetched.records.popleft() for _ in range(min(limit, len(fetched.records)))]
        fetched.size -= sum(len(data) for _, data, _ in taken)
        fetched.read = fetched.records[0][0] if fetched.records else fetched.position
        self._steer(cursor.partition, fetched)
        records = [StreamRecord(str(offset), data) for offset, data, _ in taken]
        behind = 0.0 if fetched.is_at_end and not taken else math.inf
        if taken:
            behind = max(time.time() - taken[-1][2], LEAST_AGE_SECONDS)
        return StreamPage(records, KafkaCursor(cursor.partition, fetched.read), behind)

    def close(self) -> None:
        """See ``StreamReader``."""
        self._consumer.close()

    # Asking brokers

    def _metadata(self) -> Any:
        try:
            return self._consumer.list_topics(self._topic.topic, timeout=CALL_SECONDS)
        except KafkaException as error:
            self._trouble = None
            self._look()  # the client says why when it is looked at
            raise grid_error(self._trouble or error.args[0], self._topic) from None

    def _bounds(self, number: int) -> tuple[int, int]:
        with kafka_errors(self._topic, f"asking for the offsets of partition {number}"):
            low, high = self._consumer.get_watermark_offsets(self._of(number), timeout=CALL_SECONDS)
        return low, high

    def _offset_at(self, number: int, since: float, end: int) -> int:
        """The first record of that time or later; ``end``, which was asked for before, if there is none yet."""
        with kafka_errors(self._topic, f"asking partition {number} for a time"):
            (found,) = self._consumer.offsets_for_times([self._of(number, int(since * 1000))], timeout=CALL_SECONDS)
        if found.error is not None:
            raise grid_error(found.error, self._topic)
        return end if found.offset in (-1, OFFSET_END) else int(found.offset)

    def _of(self, number: int, offset: int | None = None) -> TopicPartition:
        named = (self._topic.topic, number)
        return TopicPartition(*named) if offset is None else TopicPartition(*named, offset)

    # Fetching

    def _begin(self, cursor: KafkaCursor) -> _Fetched:
        self._forget(cursor.partition)
        with kafka_errors(self._topic):
            self._consumer.incremental_assign([self._of(cursor.partition, cursor.offset)])
        made = _Fetched(cursor.offset, cursor.offset, time.monotonic())
        self._fetched[cursor.partition] = made
        return made

    def _forget(self, number: int) -> None:
        """Fetch no more of a partition, and drop what is here."""
        if self._fetched.pop(number, None) is not None:
            with kafka_errors(self._topic):
                self._consumer.resume([self._of(number)])  # it would stay paused when it is assigned again
                self._consumer.incremental_unassign([self._of(number)])

    def _look(self) -> None:
        """Take what the client has fetched of all partitions."""
        with kafka_errors(self._topic):
            messages = self._consumer.consume(MOST_RECORDS, 0)
        for message in messages:
            error, number, offset = message.error(), message.partition(), message.offset()
            fetched = None if number is None else self._fetched.get(number)
            if number is None or fetched is None or offset is None:
                self._trouble = error or self._trouble
                continue
            fetched.heard = time.monotonic()
            if error is None:
                data = message.value() or b""
                fetched.records.append((offset, data, message.timestamp()[1] / 1000))
                fetched.size += len(data)
                fetched.position, fetched.is_at_end = offset + 1, False
            elif error.code() == KafkaError._PARTITION_EOF:
                fetched.position, fetched.is_at_end = offset, True
            else:
                fetched.error = error
            self._steer(number, fetched)

    def _check(self, number: int, fetched: _Fetched) -> None:
        """See why nothing came of a partition.

        Raises:
            RecordsGone: what was to come has left the topic.
            GridUnavailable, AccessDenied: a broker said so, or did not answer.
        """
        error, fetched.error = fetched.error, None
        if error is not None:
            self._forget(number)  # to begin again
            if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
                raise RecordsGone(str(number), str(fetched.position), str(self._bounds(number)[0]))
            raise grid_error(error, self._topic, f"reading partition {number}")
        if not fetched.is_at_end and not fetched.is_paused and time.monotonic() - fetched.heard > SILENCE_SECONDS:
            if self._trouble is not None:
                raise grid_error(self._trouble, self._topic, f"reading partition {number}")
            raise GridUnavailable(f"{self._topic.name}: nothing came of partition {number} for {SILENCE_SECONDS:.0f} s")

    def _steer(self, number: int, fetched: _Fetched) -> None:
        """Fetch no more of a partition that nobody reads as fast as it comes."""
        is_full = fetched.size >= HELD_BYTES or len(fetched.records) >= HELD_RECORDS
        if is_full == fetched.is_paused or (fetched.is_paused and fetched.records):
            return
        with kafka_errors(self._topic):
            change = self._consumer.pause if is_full else self._consumer.resume
            change([self._of(number)])
        fetched.is_paused = is_full
        fetched.heard = time.monotonic()

    def _hear(self, error: KafkaError) -> None:
        self._trouble = error
