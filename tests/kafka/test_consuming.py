"""A topic consumed: each record in one session, whatever dies; retention, new partitions, and results into a topic."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Grid, InvalidInput, SessionFailed, run_stream, sink
from htcgrid_core.data.streams import runner as running
from htcgrid_core.data.streams.running import stream_status
from tests.aws.stream_consumer import ECHO, STEPS, WRITING, kill_at_each
from tests.aws.test_streams import dies, once, taken
from tests.e2e.command_line import CommandLine
from tests.kafka.brokers import Brokers


def put(kafka: Brokers, topic: str, values: range) -> None:
    """Records of two partitions, in a transaction of their own, which leaves a marker in each."""
    with kafka.transaction(f"{topic}-{values.start}") as producer:
        for value in values:
            producer.produce(topic, json.dumps({"id": value}).encode(), partition=value % 2)


def test_killed_at_every_step(grid: Grid, grid_url: str, kafka: Brokers, notes: None, tmp_path: Path) -> None:
    """Also while it writes results: each record is in one session, and each result in the topic once."""
    topic, results = kafka.topic(), kafka.topic()
    stream, state, to = kafka.url(topic), tmp_path / "state", kafka.url(results)
    steps = [*STEPS[:4], *WRITING, *STEPS[4:]]
    put(kafka, topic, range(40))

    def after(number: int) -> None:
        put(kafka, topic, range(40 + 10 * number, 50 + 10 * number))

    kill_at_each(steps, (grid_url, stream, state, to), tmp_path, after)
    run_stream(
        grid, stream, ECHO, consumer="killed", state=state, drain=True, max_records=7, ahead=100, to=sink(to)
    )  # fmt: skip
    total = 40 + 10 * len(steps)
    assert taken(grid, "killed") == once({"id": value} for value in range(total))
    assert Counter(json.loads(one.value())["id"] for one in kafka.records(results)) == Counter(range(total))


def test_what_its_retention_has_taken(grid: Grid, kafka: Brokers, tmp_path: Path) -> None:
    topic = kafka.topic()
    kafka.put(topic, b"1", b"2")
    asked: dict[str, Any] = {"consumer": topic, "state": tmp_path, "drain": True}
    run_stream(grid, kafka.url(topic), ECHO, **asked)
    kafka.put(topic, b"3")
    kafka.overtake(topic)
    told = {one.partition: one for one in stream_status(kafka.url(topic), topic, state=tmp_path)}
    assert told["0"].is_gone
    assert not told["1"].is_gone
    with pytest.raises(InvalidInput, match=r"what this consumer is to read next, at 2 of partition 0.*--skip-lost"):
        run_stream(grid, kafka.url(topic), ECHO, **asked)
    run_stream(grid, kafka.url(topic), ECHO, skip_lost=True, **asked)
    events = taken(grid, topic)
    assert events["1"] == events["2"] == 1
    assert not events["3"]
    assert len(list(events.elements())) > 2


def test_what_was_cut_and_has_left_the_topic(
    grid: Grid, kafka: Brokers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = kafka.topic()
    kafka.put(topic, b"1", b"2")
    asked: dict[str, Any] = {"consumer": topic, "state": tmp_path, "drain": True}
    with monkeypatch.context() as patched:
        patched.setattr(Grid, "submit", dies)
        with pytest.raises(InterruptedError):
            run_stream(grid, kafka.url(topic), ECHO, **asked)
    kafka.overtake(topic)
    with pytest.raises(InvalidInput, match="no longer has the 2 records 0 to 1 of 0"):
        run_stream(grid, kafka.url(topic), ECHO, **asked)


def test_partitions_that_are_added(
    grid: Grid, real_kafka: Brokers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "SHARDS_SECONDS", 0.1)
    topic = real_kafka.topic(1)
    real_kafka.put(topic, b"1")
    runners: list[Any] = []

    def told(session: Any, of: Any) -> None:
        if of.partition == "0":
            real_kafka.grow(topic, 2)
            real_kafka.put(topic, b"2", partition=1)
        else:
            runners[0].stop()

    stream = real_kafka.url(topic)
    asked: dict[str, Any] = {"on_start": runners.append, "on_session": told, "state": tmp_path, "max_seconds": 0.1}
    run_stream(grid, stream, ECHO, consumer=topic, **asked)
    assert taken(grid, topic) == once([1, 2])


def test_where_results_cannot_go(grid: Grid, kafka: Brokers, tmp_path: Path) -> None:
    topic = kafka.topic()
    stream, to = kafka.url(topic), sink(kafka.url(kafka.topic()))
    for wrong, why in (
        ({"key": "id"}, "belong to to="),
        ({"to": sink(tmp_path / "one.jsonl")}, "holds one session"),
        ({"to": to, "checkpoint": "submitted"}, "would not all be written"),
        ({"to": to, "max_failures": 1}, "say with failures= where they go"),
        ({"to": to, "failures": to}, "failures there would replace the results"),
    ):
        with pytest.raises(InvalidInput, match=why):
            run_stream(grid, stream, ECHO, state=tmp_path / "s", **wrong)
    assert not (tmp_path / "s").exists()


def test_results_and_failures_of_each_session(grid: Grid, kafka: Brokers, notes: None, tmp_path: Path) -> None:
    def divide(value: int) -> dict[str, float]:
        return {"value": 4 / value}

    topic, results, failed = kafka.topic(), kafka.topic(), tmp_path / "failed"
    kafka.put(topic, b"1", b"0", b"2", b"0")
    asked: dict[str, Any] = {"consumer": topic, "state": tmp_path, "drain": True, "max_records": 2, "retry": 1}
    to = sink(kafka.url(results))
    with pytest.raises(SessionFailed):
        run_stream(grid, kafka.url(topic), divide, to=to, **asked)
    done = run_stream(grid, kafka.url(topic), divide, to=to, on_failure="continue", **asked)
    assert len(done.failed) == 2
    assert kafka.records(results) == []  # of sessions that did not complete
    asked |= {"consumer": f"{topic} again", "max_failures": 1, "failures": sink(failed, kind="jsonl")}
    run_stream(grid, kafka.url(topic), divide, to=to, **asked)
    assert sorted(json.loads(one.value())["value"] for one in kafka.records(results)) == [2.0, 4.0]
    lines = [json.loads(line) for file in failed.rglob("*.jsonl") for line in file.read_text().splitlines()]
    assert [line["error_type"] for line in lines] == ["ZeroDivisionError"] * 2


def test_the_command_line(grid_url: str, kafka: Brokers, notes: None, tmp_path: Path) -> None:
    topic, results = kafka.topic(), kafka.topic()
    put(kafka, topic, range(12))
    shell = CommandLine(tmp_path, grid_url)
    state = ["--state", str(tmp_path / "state")]
    asked = ["run", kafka.url(topic), "--function", ECHO, "--consumer", "shell", "--url", grid_url, "--drain", "--json"]
    done = shell.call("stream", *asked, *state, "--to", kafka.url(results), "--key", "id")
    assert done.code == 0, done.err
    assert sum(json.loads(line)["records"] for line in done.out.splitlines()) == 12
    rows = [json.loads(one.value()) for one in kafka.records(results)]
    assert sorted(row["id"] for row in rows) == list(range(12))
    done = shell.call("stream", "status", kafka.url(topic), "--consumer", "shell", "--json", *state)
    told = {one["partition"]: one for one in map(json.loads, done.out.splitlines())}
    assert (told["0"]["records"], told["0"]["behind_seconds"], told["0"]["gone"]) == (6, 0.0, False)
    wrong = shell.call("stream", *asked, *state, "--key", "id")
    assert (wrong.code, "belong to --to" in wrong.err) == (2, True)
