"""Brokers to test with: those of librdkafka's mock, in this process, or real ones.

The mock has gaps of transactions in its offsets, and a retention of 5 MB. It shows what was aborted, fences nobody, and
forgets the offsets that a transaction commits; tests of these ask for real brokers: HTCGRID_TEST_KAFKA=HOST:PORT.
"""

from __future__ import annotations

import importlib
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

administration: Any = importlib.import_module("confluent_kafka.admin")  # some of whose names are not in its types
REAL = os.environ.get("HTCGRID_TEST_KAFKA")
MOCKED_PARTITIONS = 4
MOCKED_BYTES = 5 << 20  # of a partition
_names = itertools.count(os.getpid() * 1000)


class Brokers:
    """One cluster, and topics of it that no other test has."""

    def __init__(self, address: str, *, is_real: bool) -> None:
        self.address, self.is_real = address, is_real
        self.producer = Producer({"bootstrap.servers": address, "linger.ms": 0, "log_level": 0})

    def topic(self, partitions: int = 2) -> str:
        """A new topic; the mock's has four partitions."""
        name = f"ticks-{next(_names)}"
        if self.is_real:
            self._admin(AdminClient.create_topics, [administration.NewTopic(name, partitions, 1)])
        else:
            self.producer.list_topics(name)  # which makes it
        return name

    def url(self, topic: str) -> str:
        return f"kafka://{self.address}/{topic}"

    def put(self, topic: str, *values: bytes, partition: int = 0) -> None:
        """Records, each by itself."""
        for value in values:
            self.producer.produce(topic, value, partition=partition)
        assert self.producer.flush(10) == 0

    @contextmanager
    def transaction(self, name: str) -> Iterator[Producer]:
        """What is produced in the block is committed at its end, which leaves a marker."""
        producer = Producer({"bootstrap.servers": self.address, "transactional.id": name, "log_level": 0})
        producer.init_transactions(10)
        producer.begin_transaction()
        yield producer
        producer.commit_transaction(10)

    def overtake(self, topic: str, partition: int = 0) -> None:
        """Let the retention pass of all that a partition has; there are other records then."""
        if self.is_real:
            end = self.consumer().get_watermark_offsets(TopicPartition(topic, partition), timeout=10)[1]
            self._admin(AdminClient.delete_records, [TopicPartition(topic, partition, end)])
            self.put(topic, b'"later"', partition=partition)
        else:
            self.put(topic, *[b'"' + b"x" * 900_000 + b'"'] * (MOCKED_BYTES // 900_000 + 3), partition=partition)

    def grow(self, topic: str, partitions: int) -> None:
        self._admin(AdminClient.create_partitions, [administration.NewPartitions(topic, partitions)])
        while len(self.producer.list_topics(topic, timeout=10).topics[topic].partitions) < partitions:
            pass  # each asks a broker

    def consumer(self) -> Any:
        return Consumer(
            {
                "bootstrap.servers": self.address, "group.id": "tests", "enable.auto.commit": False,
                "enable.partition.eof": True, "isolation.level": "read_committed", "auto.offset.reset": "earliest",
            }
        )  # fmt: skip

    def records(self, topic: str) -> list[Any]:
        """All messages of a topic that are committed."""
        consumer = self.consumer()
        partitions = sorted(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        found: list[Any] = []
        ended: set[int] = set()
        while len(ended) < len(partitions):
            for message in consumer.consume(100, 0.05):
                if message.error() is None:
                    found.append(message)
                else:
                    assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                    ended.add(message.partition())
        consumer.close()
        return found

    def _admin(self, call: Callable[..., Any], asked: list[Any]) -> None:
        client = AdminClient({"bootstrap.servers": self.address})  # to live until it has answered
        for future in call(client, asked).values():
            future.result(10)


@contextmanager
def brokers() -> Iterator[Brokers]:
    if REAL:
        yield Brokers(REAL, is_real=True)
        return
    host = Producer({"bootstrap.servers": "mocked", "test.mock.num.brokers": 1, "log_level": 0})
    found = host.list_topics(timeout=10).brokers.values()
    yield Brokers(",".join(f"{one.host}:{one.port}" for one in found), is_real=False)
    host.flush(0)  # it lives as long as this is there


def note_as_brokers_do() -> None:
    """Let the mock keep the offsets of a transaction, which it takes and forgets: they are committed after it."""
    from htcgrid_core.adapters.kafka import writer

    class NotingProducer(Producer):
        def __init__(self, settings: dict[str, Any], **options: Any) -> None:
            super().__init__(settings, **options)
            self._settings = {key: settings[key] for key in ("bootstrap.servers",)}
            self._group = settings["transactional.id"]
            self._offsets: list[TopicPartition] = []

        def send_offsets_to_transaction(self, offsets: list[TopicPartition], *more: Any) -> None:
            super().send_offsets_to_transaction(offsets, *more)
            self._offsets = offsets

        def commit_transaction(self, *more: Any) -> None:
            super().commit_transaction(*more)
            consumer = Consumer({**self._settings, "group.id": self._group})
            consumer.commit(offsets=self._offsets, asynchronous=False)
            consumer.close()

    vars(writer)["Producer"] = NotingProducer
