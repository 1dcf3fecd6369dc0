"""Streams in: each record is in one session, whatever dies; windows, order, resharding, rejects, the grid's load."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import (
    Grid,
    GridUnavailable,
    InvalidEvents,
    InvalidInput,
    Session,
    SessionFailed,
    connect,
    run_stream,
    sink,
)
from htcgrid_core.adapters.aws import kinesis_writer
from htcgrid_core.data.streams import running
from htcgrid_core.data.streams.journal import Journal, Range
from htcgrid_core.data.streams.runner import StreamRunner
from htcgrid_core.domain import limits
from htcgrid_core.ports.stream import RecordsGone, StreamPage, StreamRow
from tests.aws.emulators import REGION, Account
from tests.aws.memory_stream import MemoryStream
from tests.aws.stream_consumer import ECHO, STEPS, kill_at_each
from tests.e2e.command_line import PROGRAM, CommandLine
from tests.e2e.support import GUARD_SECONDS, REPOSITORY, eventually, fresh_grid


@pytest.fixture(scope="module")
def grid_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with fresh_grid(tmp_path_factory.mktemp("grid") / "home") as url:
        yield url


@pytest.fixture(scope="module")
def grid(grid_url: str) -> Iterator[Grid]:
    with connect(grid_url) as grid:
        yield grid


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> MemoryStream:
    """What every URL of a stream means here."""
    made = MemoryStream()
    monkeypatch.setattr(running, "open_stream", lambda _: made)
    return made


@pytest.fixture
def ticks(aws_account: Account, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of Kinesis with a stream ``ticks`` of two shards; this process and its children find the account."""
    for name, value in aws_account.environment.items():
        monkeypatch.setenv(name, value)
    client = aws_account.client("kinesis")
    client.create_stream(StreamName="ticks", ShardCount=2)
    return client


def put(client: Any, values: range) -> None:
    records = [{"Data": json.dumps({"id": value}).encode(), "PartitionKey": f"k{value}"} for value in values]
    client.put_records(StreamName="ticks", Records=records)


def taken(grid: Grid, consumer: str) -> Counter[Any]:
    """How often each record is an event, by the sessions that the grid lists."""
    sessions = [session for session in grid.sessions(limit=1000) if session.name.startswith(f"{consumer} ")]
    return Counter(json.dumps(event) for session in sessions for event in session.events())


def once(values: Any) -> Counter[Any]:
    return Counter(json.dumps(value) for value in values)


def test_killed_at_every_step(grid: Grid, grid_url: str, ticks: Any, tmp_path: Path) -> None:
    put(ticks, range(40))
    stream = f"kinesis://ticks?region={REGION}"

    def after(number: int) -> None:
        put(ticks, range(40 + 10 * number, 50 + 10 * number))

    kill_at_each(STEPS, (grid_url, stream, tmp_path / "state"), tmp_path, after)
    run_stream(grid, stream, ECHO, consumer="killed", state=tmp_path / "state", drain=True, max_records=7, ahead=100)
    assert taken(grid, "killed") == once({"id": value} for value in range(100))


def test_the_command_line(grid: Grid, grid_url: str, ticks: Any, tmp_path: Path) -> None:
    put(ticks, range(30))
    stream = f"kinesis://ticks?region={REGION}"
    state = ["--state", str(tmp_path / "state?")]
    asked = ["run", stream, "--function", ECHO, "--consumer", "shell", "--url", grid_url, "--max-seconds", "0.1"]
    with subprocess.Popen(
        [str(PROGRAM), "stream", *asked, *state, "--json"], env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as runner:  # fmt: skip
        assert runner.stdout is not None
        told = [json.loads(runner.stdout.readline()) for _ in range(2)]
        assert sum(one["records"] for one in told) == 30
        other = CommandLine(tmp_path, grid_url).call("stream", *asked, *state)
        assert other.code == 2
        assert "another process on this machine consumes" in other.err
        runner.send_signal(signal.SIGTERM)
        out, err = runner.communicate(timeout=GUARD_SECONDS)
    assert (runner.returncode, out) == (0, "")
    assert "30 records in 2 sessions" in err
    assert taken(grid, "shell") == once({"id": value} for value in range(30))
    done = CommandLine(tmp_path, grid_url).call("stream", "status", stream, "--consumer", "shell", "--json", *state)
    shards = [json.loads(line) for line in done.out.splitlines()]
    assert sum(shard["records"] for shard in shards) == 30
    assert {shard["behind_seconds"] for shard in shards} == {0.0}


def test_a_stream_that_is_not_there(grid: Grid, ticks: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no stream nope in eu-west-1"):
        run_stream(grid, f"kinesis://nope?region={REGION}", ECHO, state=tmp_path / "state")
    assert not (tmp_path / "state").exists()
    for wrong in ("kafka://x/", "kinesis://", "kinesis://x?region=nowhere", "kinesis://x?y=z"):
        with pytest.raises(InvalidInput, match=r"is no (stream|topic)"):
            run_stream(grid, wrong, ECHO, state=tmp_path / "state")


def test_windows_are_cut_by_records_bytes_and_time(grid: Grid, memory: MemoryStream, tmp_path: Path) -> None:
    memory.add("a", *range(5), "x" * 50, "y" * 50, 7)
    sizes: list[int] = []
    done = run_stream(
        grid, "m", ECHO, consumer="cut", state=tmp_path, drain=True, max_records=3, max_bytes=60,
        on_session=lambda _, of: sizes.append(of.records),
    )  # fmt: skip
    assert sizes == [3, 3, 2]
    assert (done.sessions, done.records) == (3, 8)
    assert taken(grid, "cut") == once([*range(5), "x" * 50, "y" * 50, 7])


def test_what_is_not_full_is_cut_when_its_time_is_over(grid: Grid, memory: MemoryStream, tmp_path: Path) -> None:
    memory.add("a", 1, 2)
    runners: list[StreamRunner] = []
    done = run_stream(
        grid, "m", ECHO, state=tmp_path, max_seconds=0.05, on_start=runners.append,
        on_end=lambda _: runners[0].stop(),
    )  # fmt: skip
    assert (done.sessions, done.records) == (1, 2)


def test_children_come_after_their_parents(grid: Grid, memory: MemoryStream, tmp_path: Path) -> None:
    memory.add("merged", 5, parents=("left", "right"))
    memory.add("left", 1, 2, parents=("gone",))
    memory.add("right", 3)
    memory.end("left")
    memory.end("right")
    order: list[str] = []
    run_stream(
        grid, "m", ECHO, consumer="reshard", state=tmp_path, drain=True, in_order=True,
        on_session=lambda _, of: order.append(of.partition),
    )  # fmt: skip
    assert sorted(order[:2]) == ["left", "right"]
    assert order[2:] == ["merged"]
    assert memory.reads.index("merged") > max(memory.reads.index("left"), memory.reads.index("right"))
    memory.add("merged", 6)
    run_stream(grid, "m", ECHO, consumer="reshard", state=tmp_path, drain=True)
    assert taken(grid, "reshard") == once([1, 2, 3, 5, 6])


def test_in_order_a_session_has_ended_before_the_next(grid: Grid, memory: MemoryStream, tmp_path: Path) -> None:
    memory.add("a", *range(4))
    live: list[int] = []

    def told(session: Any, of: Any) -> None:
        live.append(sum(not one.done() for one in grid.sessions(limit=1000) if one.name.startswith("ordered ")))

    run_stream(
        grid, "m", ECHO, consumer="ordered", state=tmp_path, drain=True, in_order=True, max_records=1, on_session=told
    )
    assert len(live) == 4
    assert max(live) <= 1


def test_no_more_sessions_than_the_grid_wants(grid: Grid, memory: MemoryStream, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    memory.add("a", *[str(gate)] * 30)
    live: list[int] = []
    busy: list[int] = []

    def waits(path: str) -> None:
        import os
        import time

        while not os.path.exists(path):
            time.sleep(0.01)

    def told(session: Any, of: Any) -> None:
        live.append(sum(not one.done() for one in grid.sessions(limit=1000) if one.name.startswith("pressed ")))
        if len(live) == 1:  # the load is looked at while the first one wants more than the grid has
            eventually(lambda: grid.measure().busy, "a task runs")
            busy.append(1)
        gate.touch()

    run_stream(
        grid, "m", waits, consumer="pressed", state=tmp_path / "s", drain=True, max_records=10, ahead=0.1,
        on_session=told,
    )  # fmt: skip
    assert busy
    assert max(live) == 1


def test_what_is_no_event(grid: Grid, memory: MemoryStream, tmp_path: Path) -> None:
    memory.add("a", {"id": 1}, b"{", {"id": "x"}, {"id": 2})
    asked: dict[str, Any] = {"consumer": "rejects", "state": tmp_path / "s", "drain": True, "schema": dict[str, int]}
    with pytest.raises(InvalidEvents, match=r"2 of 4 events.*\n.*at 000002: it is not JSON"):
        run_stream(grid, "m", ECHO, **asked)
    assert not taken(grid, "rejects")
    done = run_stream(grid, "m", ECHO, rejects=tmp_path / "r", **asked)
    assert (done.records, done.rejected) == (2, 2)
    (file,) = (tmp_path / "r").iterdir()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(line["partition"], line["position"]) for line in lines] == [("a", "000002"), ("a", "000003")]
    assert lines[1]["errors"][0]["path"] == "id"
    assert taken(grid, "rejects") == once([{"id": 1}, {"id": 2}])


def test_what_a_deployed_function_does_not_take(grid: Grid, memory: MemoryStream, tmp_path: Path) -> None:
    """It is put aside by the schema of the version that a range's session runs, also after another deployment."""
    (tmp_path / "app.py").write_text("def handler(event, context):\n    return event\n")
    schema = {"type": "object", "properties": {"id": {"type": "integer"}}}
    grid.deploy("typed", tmp_path, handler="app.handler", events_schema=schema)
    memory.add("a", {"id": 1}, {"id": "x"}, b"{", {"id": 2})
    asked: dict[str, Any] = {"state": tmp_path / "s", "drain": True}
    with pytest.raises(InvalidEvents, match=r"2 of 4 events.*\n.*at 000002, id: \"x\" is not"):
        run_stream(grid, "m", "typed", **asked)
    assert not taken(grid, "typed")
    with pytest.raises(ZeroDivisionError):  # after it was submitted
        run_stream(grid, "m", "typed", rejects=tmp_path / "r", on_end=lambda _: 1 / 0, **asked)
    grid.deploy("typed", tmp_path, handler="app.handler", events_schema={"type": "null"})
    with sqlite3.connect(next((tmp_path / "s").rglob("*.db"))) as journal:
        journal.execute("UPDATE ranges SET session = NULL")  # as if it had ended before its note
    done = run_stream(grid, "m", "typed", rejects=tmp_path / "r", **asked)
    assert (done.records, done.rejected) == (2, 2)
    (file,) = (tmp_path / "r").iterdir()
    assert [json.loads(line)["position"] for line in file.read_text().splitlines()] == ["000002", "000003"]
    assert taken(grid, "typed") == once([{"id": 1}, {"id": 2}])


def test_a_session_that_fails(grid: Grid, memory: MemoryStream, tmp_path: Path) -> None:
    memory.add("a", 0, 1)

    def divide(value: int) -> float:
        return 1 / value

    asked: dict[str, Any] = {"consumer": "fails", "state": tmp_path, "drain": True, "max_records": 1, "retry": 1}
    for _ in range(2):
        with pytest.raises(SessionFailed, match="ZeroDivisionError"):
            run_stream(grid, "m", divide, **asked)
    done = run_stream(grid, "m", divide, on_failure="continue", **asked)
    assert len(done.failed) == 1
    assert taken(grid, "fails") == once([0, 1])


def test_other_options_find_the_session_that_was_submitted_first(
    grid: Grid, memory: MemoryStream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.add("a", 1, 2)
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "submitted", dies)
        with pytest.raises(InterruptedError):
            run_stream(grid, "m", ECHO, consumer="other", state=tmp_path, drain=True)
    done = run_stream(grid, "m", ECHO, consumer="other", state=tmp_path, drain=True, priority="low")
    assert done.sessions == 1
    assert taken(grid, "other") == once([1, 2])


def dies(*_: Any, **__: Any) -> None:
    raise InterruptedError


@pytest.mark.parametrize("all_are_gone", [False, True])
def test_records_that_left_the_stream(
    grid: Grid, memory: MemoryStream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, all_are_gone: bool
) -> None:
    memory.add("a", 1, 2)
    asked: dict[str, Any] = {"consumer": f"lost{all_are_gone}", "state": tmp_path, "drain": True}
    with monkeypatch.context() as patched:
        patched.setattr(Grid, "submit", dies)
        with pytest.raises(InterruptedError):
            run_stream(grid, "m", ECHO, **asked)
    if all_are_gone:  # with their shard, which had ended
        del memory.shards["a"]
        memory.add("b", 3, parents=("a",))
    else:
        del memory.shards["a"][1][0]
        memory.add("a", 3)
    with pytest.raises(InvalidInput, match="no longer has the 2 records 000001 to 000002 of a"):
        run_stream(grid, "m", ECHO, **asked)
    run_stream(grid, "m", ECHO, skip_lost=True, **asked)
    assert taken(grid, asked["consumer"]) == once([3])


def test_what_was_submitted_is_not_lost_though_it_left_the_stream(
    grid: Grid, memory: MemoryStream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.add("a", 1, 2)
    asked: dict[str, Any] = {"consumer": "there", "state": tmp_path, "drain": True}
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "submitted", dies)
        with pytest.raises(InterruptedError):
            run_stream(grid, "m", ECHO, **asked)
    memory.shards["a"][1].clear()
    heard: list[str] = []
    done = run_stream(grid, "m", ECHO, on_end=lambda session: heard.append(session.id), **asked)
    assert (done.sessions, done.records, len(heard)) == (1, 2, 1)
    assert taken(grid, "there") == once([1, 2])


def test_what_is_told_of_a_session_is_told_again_while_the_grid_is_away(
    grid: Grid, memory: MemoryStream, tmp_path: Path
) -> None:
    memory.add("a", 1, 2)
    told: list[str] = []

    def tell(session: Session, of: Range) -> None:
        told.append(session.id)
        if len(told) == 1:
            raise GridUnavailable("away")

    done = run_stream(grid, "m", ECHO, consumer="told", state=tmp_path, drain=True, on_session=tell)
    assert (done.sessions, done.records, len(told), len(set(told))) == (1, 2, 2, 1)


def test_a_journal_that_cannot_be_written_for_a_while(
    grid: Grid, memory: MemoryStream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk at each of its writes: nothing is lost, and nothing is twice."""
    memory.add("a", 1, 2)
    memory.end("a")
    memory.add("b", 3, parents=("a",))
    writing = Journal._writing
    times = 0

    @contextlib.contextmanager
    def full(self: Journal) -> Iterator[None]:
        nonlocal times
        times += 1
        with writing(self):
            if times % 2:
                raise sqlite3.OperationalError("database or disk is full")
            yield

    monkeypatch.setattr(Journal, "_writing", full)
    done = run_stream(grid, "m", ECHO, consumer="full", state=tmp_path, drain=True)
    assert (done.sessions, done.records) == (2, 3)
    assert times >= 14
    assert taken(grid, "full") == once([1, 2, 3])


@pytest.mark.parametrize("state", ["stopped while away", "stopped while it reads a range again"])
def test_it_stops_in_every_state(
    grid: Grid, memory: MemoryStream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    memory.add("a", 1, 2)
    asked: dict[str, Any] = {"consumer": state, "state": tmp_path}
    runners: list[StreamRunner] = []

    def away(*_: Any, **__: Any) -> Any:
        runners[-1].stop()
        raise GridUnavailable("away")

    def nothing(*_: Any) -> StreamPage:  # though more follows, as of a shard that is read from afar
        runners[-1].stop()
        return StreamPage([], ("a", 0), 1.0)

    with monkeypatch.context() as patched:
        patched.setattr(Grid, "submit", dies)
        with pytest.raises(InterruptedError):
            run_stream(grid, "m", ECHO, drain=True, **asked)
    with monkeypatch.context() as patched:
        patched.setattr(memory, "read", nothing) if "range" in state else patched.setattr(Grid, "submit", away)
        run_stream(grid, "m", ECHO, on_start=runners.append, **asked)
    run_stream(grid, "m", ECHO, drain=True, **asked)
    assert taken(grid, state) == once([1, 2])


def test_folders_that_are_none(grid: Grid, memory: MemoryStream, tmp_path: Path) -> None:
    memory.add("a", b"{")
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="cannot keep how far memory://stream is"):
        run_stream(grid, "m", ECHO, state=tmp_path / "file" / "state")
    with pytest.raises(InvalidInput, match="is no folder for rejects"):
        run_stream(grid, "m", ECHO, state=tmp_path / "s", rejects=tmp_path / "file")
    asked: dict[str, Any] = {"consumer": "folders", "state": tmp_path / "s", "drain": True}
    with pytest.raises(InvalidInput, match="cannot be written"):
        run_stream(grid, "m", ECHO, rejects=tmp_path / "r", on_start=lambda _: (tmp_path / "r").rmdir(), **asked)
    done = run_stream(grid, "m", ECHO, rejects=tmp_path / "r", **asked)
    assert (done.sessions, done.rejected) == (0, 1)


def test_cursors_expire(grid: Grid, memory: MemoryStream, tmp_path: Path) -> None:
    memory.add("a", *range(6))
    memory.expiring = 2
    done = run_stream(grid, "m", ECHO, consumer="expire", state=tmp_path, drain=True, max_records=4)
    assert (done.sessions, done.records) == (2, 6)


@pytest.mark.parametrize(
    "wrong",
    [{"max_records": 0}, {"max_seconds": 0}, {"start": "x"}, {"token": "x"}, {"format": "x"}, {"max_sessions": 0}],
)
def test_arguments_that_are_no_good(grid: Grid, memory: MemoryStream, tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        run_stream(grid, "m", ECHO, state=tmp_path / "s", **wrong)
    assert not (tmp_path / "s").exists()


def rows_there(client: Any) -> list[tuple[str, Any]]:
    """Keys and rows of all shards."""
    found: list[tuple[str, Any]] = []
    for shard in client.list_shards(StreamName="ticks")["Shards"]:
        of = {"StreamName": "ticks", "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        records = client.get_records(ShardIterator=client.get_shard_iterator(**of)["ShardIterator"])["Records"]
        found += [(record["PartitionKey"], json.loads(record["Data"])) for record in records]
    return sorted(found, key=lambda pair: pair[0])


def test_results_into_a_stream(grid: Grid, ticks: Any) -> None:
    session = grid.submit(ECHO, [{"id": "x"}, {"id": "y"}])
    place = sink(f"kinesis://ticks?region={REGION}")
    assert session.write(place).results.rows == 2
    expected = [(f"{session.id}/{n}", {"session": session.id, "task_index": n, "id": "xy"[n]}) for n in range(2)]
    assert rows_there(ticks) == expected
    session.write(place, name="again")
    assert [key for key, _ in rows_there(ticks)] == ["again/0", "again/1", *(key for key, _ in expected)]
    with pytest.raises(InvalidInput, match="236 characters at most"):
        session.write(place, name="x" * 237)
    with pytest.raises(InvalidInput, match="there is no stream nope"):
        session.write(sink(f"kinesis://nope?region={REGION}"))


def test_rows_that_a_shard_has_no_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are put again, and only they; batches have at most 500 rows, and 5 MiB."""
    batches: list[list[str]] = []

    class Shard:
        def put_records(self, **asked: Any) -> dict[str, Any]:
            records = asked["Records"]
            batches.append([one["PartitionKey"] for one in records])
            assert sum(len(one["Data"]) + len(one["PartitionKey"]) for one in records) <= 5 << 20
            refused = len(batches) == 1
            return {"Records": [{"ErrorCode": "ProvisionedThroughputExceededException"} if refused and n % 2 else {}
                                for n in range(len(records))]}  # fmt: skip

    class Clients:
        region = REGION

        def of(self, *_: str) -> Shard:
            return Shard()

    monkeypatch.setattr(kinesis_writer, "FIRST_PAUSE_SECONDS", 0.0)
    writer = kinesis_writer.KinesisWriter(Clients(), "ticks")  # type: ignore[arg-type]
    writer.append("s", "", (StreamRow(index, b"x" * 100) for index in range(501)))
    assert [len(batch) for batch in batches] == [500, 250, 1]
    assert batches[1] == batches[0][1::2]
    batches.append([])
    writer.append("s", "", (StreamRow(index, b"x" * 1_000_000) for index in range(6)))
    assert [len(batch) for batch in batches[4:]] == [5, 1]
    with pytest.raises(InvalidInput, match="the row of task 7 of session s has 1,048,579 bytes with its key"):
        writer.append("s", "", [StreamRow(7, b"x" * (1 << 20))] * 2)
    monkeypatch.setattr(limits, "PATIENCE_SECONDS", -1.0)
    batches.clear()
    with pytest.raises(GridUnavailable, match="1 rows of session s were refused"):
        writer.append("s", "", [StreamRow(0, b""), StreamRow(1, b"")])


def test_a_cursor_that_expires_after_ranges_were_cut(grid: Grid, memory: MemoryStream, tmp_path: Path) -> None:
    memory.add("a", 1, 2)
    runners: list[StreamRunner] = []

    def told(session: Session, of: Range) -> None:
        if of.first == "000001":
            memory.expiring = 1
            memory.add("a", 3)
        else:
            runners[0].stop()

    run_stream(
        grid, "m", ECHO, consumer="late", state=tmp_path, max_records=2, max_seconds=0.05,
        on_start=runners.append, on_session=told,
    )  # fmt: skip
    assert taken(grid, "late") == once([1, 2, 3])


def test_records_that_retention_took_first(
    grid: Grid, memory: MemoryStream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.add("a", 1, 2)
    asked: dict[str, Any] = {"consumer": "retained", "state": tmp_path, "drain": True}
    reading = memory.read
    times = 0

    def gone(cursor: Any, limit: int) -> StreamPage:
        nonlocal times
        times += 1
        if times == 1:
            raise RecordsGone("a", "000000", "000001")
        return reading(cursor, limit)

    with monkeypatch.context() as patched:
        patched.setattr(memory, "read", gone)
        with pytest.raises(InvalidInput, match=r"at 000000 of partition a, which begins at 000001 now.*--skip-lost"):
            run_stream(grid, "m", ECHO, **asked)
        times = 0
        run_stream(grid, "m", ECHO, skip_lost=True, **asked)
    assert taken(grid, "retained") == once([1, 2])
