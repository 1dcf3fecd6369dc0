"""``--reduce``: one value of a session's results, by a reducer's name; and lists end to end, into a table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from htcgrid_core import Grid, InvalidInput, TaskFailed, connect, sink
from htcgrid_core.reducers.named import plain, reducer_named
from tests.e2e.command_line import CommandLine

ECHO = "tests.bench.handlers.echo"


@pytest.fixture(scope="module")
def grid(url: str) -> Iterator[Grid]:
    with connect(url) as grid:
        yield grid


def test_submit_and_reduce(url: str, tmp_path: Path) -> None:
    shell = CommandLine(tmp_path, url)
    done = shell.call("submit", ECHO, "--range", "5", "--reduce", "mean", "--url", url)
    assert (done.code, done.out) == (0, "2.0\n"), done.err
    assert "session s-" in done.err
    (tmp_path / "book.jsonl").write_text("".join(json.dumps({"id": n, "value": n / 2}) + "\n" for n in range(4)))
    asked = ["--reduce", "sum", "--reduce", "histogram:0,1,2", "--reduce", "top:1", "--of", "value"]
    done = shell.call("submit", ECHO, "--events", str(tmp_path / "book.jsonl"), *asked, "--url", url)
    assert json.loads(done.out) == {
        "sum": 3.0,
        "histogram:0,1,2": {"edges": [0.0, 1.0, 2.0], "counts": [2, 2], "below": 0, "above": 0},
        "top:1": [{"id": 3, "value": 1.5}],
    }
    session = done.err.split()[1]
    done = shell.call("results", session, "--reduce", "quantiles:0,1", "--of", "value", "--url", url)
    low, high = json.loads(done.out).values()
    assert (low, high) == (0.0, pytest.approx(1.5, rel=0.02))
    done = shell.call("results", session, "--reduce", "mean", "--of", "nope", "--url", url)
    assert (done.code, "event 0: TypeError: the result has no 'nope'" in done.err) == (2, True)


def test_what_failures_leave_out_is_told_in_a_line(url: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def one_by(event, context):\n    return 1 / event\n")
    shell = CommandLine(tmp_path, url)
    asked = ["--range", "3", "--max-attempts", "1", "--max-failures", "1", "--reduce", "sum"]
    done = shell.call("submit", "mine.one_by", *asked, "--url", url)
    assert (done.code, done.out) == (0, "1.5\n")
    session, warning = done.err.splitlines()
    assert warning.startswith("Warning: left out of the reduction: 1 of 3 events failed")
    assert warning.endswith("ZeroDivisionError: division by zero")
    to = ["results", session.split()[1], "--to", "out.jsonl", "--url", url]
    done = shell.call(*to)
    assert (done.code, "--failures-to PLACE writes the other results" in done.err) == (1, True)
    for wrong in (["--errors", "return"], ["--reduce", "concat", "--of", "value"]):
        done = shell.call(*to, *wrong)
        assert (done.code, "has no meaning beside --to" in done.err) == (2, True)
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (["--reduce", "median"], "'median' is no reducer: count, sum"),
        (["--reduce", "top:x"], "'top:x' is no reducer: invalid literal"),
        (["--reduce", "histogram:3,1"], "each above the one before"),
        (["--reduce", "mean:2"], "is no reducer"),
        (["--of", "value"], "--of belongs to --reduce"),
    ],
)
def test_what_is_no_reducer(url: str, tmp_path: Path, asked: list[str], why: str) -> None:
    done = CommandLine(tmp_path, url).call("submit", ECHO, "--range", "1", *asked, "--url", url)
    assert (done.code, done.out) == (2, "")
    assert why in done.err


def test_failures_that_are_tolerated(grid: Grid, url: str, tmp_path: Path) -> None:
    session = grid.submit(lambda value: 4 / value, [0, 1, 2], max_failures=1, retry=1)
    with pytest.raises(TaskFailed):
        session.reduce(reducer_named("mean"))
    with pytest.warns(UserWarning, match="1 of 3 events failed"):
        assert session.reduce(reducer_named("mean"), errors="skip") == 3.0


def test_lists_end_to_end(grid: Grid, url: str, tmp_path: Path) -> None:
    session = grid.submit(ECHO, [[{"leg": 1}, {"leg": 2}], [], {"leg": 3}])
    assert plain(session.reduce(reducer_named("concat"))) == [{"leg": 1}, {"leg": 2}, {"leg": 3}]
    shell = CommandLine(tmp_path, url)
    asked = ["results", session.id, "--url", url, "--to", str(tmp_path / "legs.jsonl")]
    done = shell.call(*asked, "--reduce", "concat")
    assert json.loads(done.out)["results"]["rows"] == 3, done.err
    rows = [json.loads(line) for line in (tmp_path / "legs.jsonl").read_text().splitlines()]
    assert rows == [{"session": session.id, "task_index": n, "leg": n + 1} for n in range(3)]
    wrong = shell.call(*asked, "--reduce", "mean")
    assert (wrong.code, "--reduce prints one value" in wrong.err) == (2, True)
    with pytest.raises(InvalidInput, match="which have no event"):
        session.write(sink(tmp_path / "keyed.jsonl"), key="leg", concat=True)
