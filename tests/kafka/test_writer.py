"""A session's rows in a topic: in one transaction, once, known by their keys."""

from __future__ import annotations

import json

import pytest

from htcgrid_core import Grid, GridUnavailable, InvalidInput, ResultRows, ResultSink, sink
from htcgrid_core.adapters.kafka.writer import KafkaWriter
from htcgrid_core.client.result_files import as_typed_json
from tests.aws.stream_consumer import ECHO
from tests.kafka.brokers import Brokers

pytestmark = pytest.mark.usefixtures("notes")


def rows_of(session: str, *values: object) -> ResultRows:
    rows = ResultRows(session)
    made = [{"value": value} for value in values]
    rows.put((index, row, as_typed_json(row, index)) for index, row in enumerate(made))
    return rows


def found(kafka: Brokers, topic: str) -> list[tuple[str, object]]:
    """Keys and values, sorted: rows are of several partitions."""
    return sorted((one.key().decode(), json.loads(one.value())["value"]) for one in kafka.records(topic))


def test_a_session_is_written_once(grid: Grid, kafka: Brokers) -> None:
    topic = kafka.topic()
    session = grid.submit(ECHO, [{"id": "x"}, {"id": "y"}])
    for _ in range(2):
        manifest = session.write(sink(kafka.url(topic)))
        assert (manifest.results.to, manifest.results.rows) == (kafka.url(topic), 2)
    records = sorted(kafka.records(topic), key=lambda one: one.key())
    assert [one.key().decode() for one in records] == [f"{session.id}/0", f"{session.id}/1"]
    assert [json.loads(one.value()) for one in records] == [
        {"session": session.id, "task_index": 0, "id": "x"},
        {"session": session.id, "task_index": 1, "id": "y"},
    ]
    assert records[1].headers() == [("session", session.id.encode()), ("task_index", b"1")]


def test_other_rows_come_after_those_before(kafka: Brokers) -> None:
    topic = kafka.topic()
    place = sink(kafka.url(topic))
    for values in ((1, 2), (1, 2), (1, 3), (1, 3), (1, 2)):
        place.replace(rows_of("2026-01-02", *values))
    place.replace(rows_of("2026-01-03", 7))
    place.replace(rows_of("empty"))
    assert found(kafka, topic) == [
        *[("2026-01-02/0", 1)] * 3, ("2026-01-02/1", 2), ("2026-01-02/1", 2), ("2026-01-02/1", 3), ("2026-01-03/0", 7),
    ]  # fmt: skip


def test_all_or_nothing(real_kafka: Brokers, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = real_kafka.topic()
    place = sink(real_kafka.url(topic))
    with monkeypatch.context() as patched:
        patched.setattr(KafkaWriter, "_note", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            place.replace(rows_of("s", *range(1000)))
    assert found(real_kafka, topic) == []
    place.replace(rows_of("s", *range(1000)))
    assert len(found(real_kafka, topic)) == 1000


def test_a_writer_that_was_overtaken(real_kafka: Brokers, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = real_kafka.topic()
    place = sink(real_kafka.url(topic))
    with monkeypatch.context() as patched:
        note = KafkaWriter._note

        def overtaken(*asked: object) -> None:
            patched.setattr(KafkaWriter, "_note", note)
            place.replace(rows_of("s", 1, 2))
            note(*asked)  # type: ignore[arg-type]

        patched.setattr(KafkaWriter, "_note", overtaken)
        with pytest.raises(GridUnavailable, match="another writer of session s has taken over"):
            place.replace(rows_of("s", 1, 2))
    place.replace(rows_of("s", 1, 2))
    assert found(real_kafka, topic) == [("s/0", 1), ("s/1", 2)]


def test_rows_that_are_too_large(kafka: Brokers) -> None:
    topic = kafka.topic()
    place = sink(kafka.url(topic))
    with pytest.raises(InvalidInput, match=r"the row of task 1 of session s has 2,0\d\d,\d\d\d bytes"):
        place.replace(rows_of("s", "x", "x" * 2_000_000))
    if kafka.is_real:  # the mock shows what was aborted
        assert found(kafka, topic) == []


def test_names(kafka: Brokers, grid: Grid) -> None:
    place: ResultSink = sink(kafka.url(kafka.topic()))
    session = grid.submit(ECHO, [1])
    for name, why in (("x" * 501, "500 characters at most"), ("\ud800", "cannot stand in a key")):
        with pytest.raises(InvalidInput, match=why):
            session.write(place, name=name)
    with pytest.raises(InvalidInput, match="the sink cannot be opened"):
        sink(kafka.url("ticks"), table="x")


def test_topics_that_are_not_there(real_kafka: Brokers, grid: Grid) -> None:
    session = grid.submit(ECHO, [1])
    with pytest.raises(InvalidInput, match="there is no topic nope"):
        session.write(sink(real_kafka.url("nope")))
