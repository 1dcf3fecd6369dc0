"""A topic read by the port of streams: gaps, ends, times, retention, and what the configuration may not say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from htcgrid_core import GridUnavailable, InvalidInput
from htcgrid_core.adapters.kafka import reader as reading
from htcgrid_core.adapters.kafka.reader import KafkaReader
from htcgrid_core.adapters.kafka.topic import VARIABLE, topic_of
from htcgrid_core.ports.stream import RecordsGone, StreamRecord
from tests.e2e.support import eventually
from tests.kafka.brokers import Brokers


@contextmanager
def opened(url: str) -> Iterator[KafkaReader]:
    reader = KafkaReader(topic_of(url))
    try:
        yield reader
    finally:
        reader.close()


def read_to_end(reader: KafkaReader, cursor: object, limit: int = 3) -> tuple[list[StreamRecord], object]:
    """All until there are no more, and where to read on."""
    found: list[StreamRecord] = []
    at = [cursor]

    def is_over() -> bool:
        page = reader.read(at[0], limit)
        assert len(page.records) <= limit
        found.extend(page.records)
        at[0] = page.cursor
        return not page.records and page.behind_seconds == 0

    eventually(is_over, "the end")
    return found, at[0]


def test_gaps_and_ends(kafka: Brokers) -> None:
    topic = kafka.topic()
    for number in range(3):
        with kafka.transaction(f"{topic}-{number}") as producer:
            for value in range(4):
                producer.produce(topic, f"{number}{value}".encode(), partition=1)
    with opened(kafka.url(topic)) as reader:
        names = [one.name for one in reader.partitions()]
        assert names[:2] == ["0", "1"]
        begin = reader.cursor("1", since=None)
        found, end = read_to_end(reader, begin)
        assert [one.data for one in found] == [f"{number}{value}".encode() for number in range(3) for value in range(4)]
        positions = [int(one.position) for one in found]
        assert positions == [0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13]  # markers are between
        assert read_to_end(reader, reader.cursor("0", since=None))[0] == []
        kafka.put(topic, b"next", partition=1)
        again = list(eventually(lambda: reader.read(end, 10).records, "the next one"))
        assert [one.data for one in again] == [b"next"]
        back, _ = read_to_end(reader, reader.cursor("1", at="6", since=None))
        assert back == found[5:] + again
        after, _ = read_to_end(reader, reader.cursor("1", after="8", since=None))
        assert after == found[8:] + again


def test_partitions_that_nobody_reads_are_held_and_not_lost(kafka: Brokers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "HELD_RECORDS", 40)
    monkeypatch.setattr(reading, "MOST_RECORDS", 20)
    topic = kafka.topic()
    for partition in (0, 1):
        kafka.put(topic, *(b"%d" % value for value in range(120)), partition=partition)
    with opened(kafka.url(topic)) as reader:
        cursors = {name: reader.cursor(name, since=None) for name in ("0", "1")}
        reader.read(cursors["1"], 1)  # it is fetched from here on
        expected = [b"%d" % value for value in range(120)]
        assert [one.data for one in read_to_end(reader, cursors["0"])[0]] == expected
        assert len(reader._fetched[1].records) < 100
        assert [one.data for one in read_to_end(reader, reader.cursor("1", since=None))[0]] == expected


def test_retention(kafka: Brokers) -> None:
    topic = kafka.topic()
    kafka.put(topic, b"1", b"2")
    with opened(kafka.url(topic)) as reader:
        cursor = reader.cursor("0", at="1", since=None)
        for wrong in ("2", "7"):
            with pytest.raises(RecordsGone):
                reader.cursor("0", at=wrong, since=None)
        with pytest.raises(InvalidInput, match=r"ends at 2, before 8.*name another consumer"):
            reader.cursor("0", after="7", since=None)
        kafka.overtake(topic)
        for asked in ({"at": "1"}, {"after": "0"}):
            with pytest.raises(RecordsGone):
                reader.cursor("0", since=None, **asked)
        with pytest.raises(RecordsGone) as told:
            eventually(lambda: reader.read(cursor, 10).records, "it is told")
        assert int(told.value.oldest) > 1
        found, _ = read_to_end(reader, reader.cursor("0", since=None))
        assert found[0].position == told.value.oldest


def test_aborted_records_are_none(real_kafka: Brokers) -> None:
    topic = real_kafka.topic()
    with real_kafka.transaction(topic) as producer:
        producer.produce(topic, b"aborted", partition=0)
        producer.flush()
        producer.abort_transaction(10)
        producer.begin_transaction()
        producer.produce(topic, b"committed", partition=0)
    with opened(real_kafka.url(topic)) as reader:
        assert [one.data for one in read_to_end(reader, reader.cursor("0", since=None))[0]] == [b"committed"]


def test_times(real_kafka: Brokers) -> None:
    topic = real_kafka.topic()
    real_kafka.put(topic, b"old")
    now = time.time() + 0.001
    eventually(lambda: time.time() > now + 0.002, "its millisecond is over")
    with opened(real_kafka.url(topic)) as reader:
        cursor = reader.cursor("0", since=now)
        real_kafka.put(topic, b"new")
        assert [one.data for one in read_to_end(reader, cursor)[0]] == [b"new"]
        assert reader.cursor("0", since=now) == cursor


def test_brokers_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "CALL_SECONDS", 0.5)
    with pytest.raises(GridUnavailable, match=r"kafka://127.0.0.1:1/ticks failed for now: .*127.0.0.1:1"):
        KafkaReader(topic_of("kafka://127.0.0.1:1/ticks"))


def test_a_partition_that_is_silent(kafka: Brokers, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = kafka.topic()
    with opened(kafka.url(topic)) as reader:
        cursor = reader.cursor("0", since=None)
        monkeypatch.setattr(reader, "_look", lambda: None)
        assert reader.read(cursor, 1).records == []
        monkeypatch.setattr(reading, "SILENCE_SECONDS", -1)
        with pytest.raises(GridUnavailable, match="nothing came of partition 0"):
            reader.read(cursor, 1)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("kafka://h:1", "is no topic of Kafka"),
        ("kafka://h:1/a/b", "is no topic of Kafka"),
        ("kafka://h:1/t?acks=1", "acks is no option of it"),
        ("kafka:///t", "names no brokers"),
        ("kafka://user:hush@h:1/t", "belong into the file"),
        ("kafka://h:1/t?config=/nowhere/file", "cannot be read"),
    ],
)
def test_urls_that_are_none(wrong: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why) as told:
        topic_of(wrong)
    assert "hush" not in str(told.value)


def test_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "kafka.properties"
    file.write_text("# of the desk\n\nsasl.password = hush=1\nbootstrap.servers=one:1,two:2\n")
    monkeypatch.setenv(VARIABLE, str(file))
    topic = topic_of("kafka:///ticks")
    assert topic.settings == {"sasl.password": "hush=1", "bootstrap.servers": "one:1,two:2"}
    assert topic.name == "kafka://one:1,two:2/ticks"
    assert "hush" not in repr(topic)
    assert topic.without_secrets("wrong: hush=1!") == "wrong: ***!"
    with pytest.raises(InvalidInput, match=r"stands in .* too"):
        topic_of("kafka://three:3/ticks")
    for line, why in (("isolation.level=none", "not yours to set"), ("hush", "line 1: it is not KEY=VALUE")):
        file.write_text(line)
        with pytest.raises(InvalidInput, match=why):
            topic_of(f"kafka://three:3/ticks?config={file}")
    file.write_text("sasl.secret=hush")
    with pytest.raises(InvalidInput, match=r"No such configuration property: .sasl.secret.") as told:
        KafkaReader(topic_of("kafka://three:3/ticks"))
    assert "hush" not in str(told.value)
