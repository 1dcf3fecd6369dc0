"""Results as Parquet: every value as it was returned, in columns that hold all of them; or JSON Lines beside it."""

from __future__ import annotations

import io
import json
import logging
import math
from collections.abc import Iterator
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped] # no types
import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
from airflow.sdk.io import attach
from click.testing import CliRunner

from htcgrid_airflow.collect import collect
from htcgrid_airflow.lineage import place_of
from htcgrid_core import Grid, InvalidInput, NotTabular, TaskFailed, write_results
from htcgrid_core.cli.main import cli
from htcgrid_core.client.files import result_columns, row_batches
from htcgrid_core.domain.outcome import TaskError

MANY = 20  # of which a batch has ten


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_batches, "BATCH_ROWS", 10)


def table(results: Any) -> Any:
    sink = io.BytesIO()
    write_results(results, sink, "parquet")
    return parquet.read_table(sink)


def rows(results: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = table(results).to_pylist()
    assert [row.pop("task_index") for row in found] == list(range(len(found)))
    assert [row.pop("task_error") for row in found] == [None] * len(found)
    return found


@pytest.mark.parametrize(
    ("before", "last", "column", "first"),
    [
        (0, 2.5, "result", 0.0),
        (2**53, 0.5, "result", 2.0**53),
        ({"pnl": 0}, {"pnl": -0.75}, "pnl", 0.0),
        ([0], [2.5], "result", [0.0]),
        ({"g": {"d": 1.0}}, {"g": {"d": 1.0, "v": 2.0}}, "g", {"d": 1.0, "v": None}),
        ({"l": [{"a": 1}]}, {"l": [{"a": 1, "b": 2}]}, "l", [{"a": 1, "b": None}]),
        ({"l": [[]]}, {"l": [[{"a": "x"}, None]]}, "l", [[]]),
        (1, 2**63, "result", 1),
        (-1, 2**64, "result", -1),
        (None, 1.5, "result", None),
        (None, {"a": 1}, "a", None),
        ({"a": 1}, {"b": 2}, "b", None),
        ({"g": {}}, {"g": {"a": 1}}, "g", {"a": None}),
        ({"g": None}, {"g": {"a": True}}, "g", None),
        (math.inf, -math.inf, "result", math.inf),
        ("", "\x00é\U0001f600", "result", ""),
        ({"": 1, "a.b": 2, "é": 3}, {"": 1, "a.b": 2, "é": 3}, "a.b", 2),
    ],
    ids=repr,
)
def test_what_comes_after_the_first_batch(before: Any, last: Any, column: str, first: Any) -> None:
    """Columns had the types of the first one: 2.5 after zeros was 2, new keys inside of others were gone."""
    found = rows([before] * MANY + [last])
    assert found[0][column] == first
    assert found[-1][column] == (last if column == "result" else last[column])
    assert rows([last] + [before] * MANY)[0] == found[-1]


def test_a_fraction_after_ten_thousand_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert [row["result"] for row in rows([0] * 10_000 + [2.5])][-2:] == [0.0, 2.5]


def test_a_column_has_one_type() -> None:
    found = table([{"n": 1, "x": 1, "big": 1, "none": None, "list": []}, {"n": 2, "x": 0.5, "big": 2**63}])
    kinds = {"n": arrow.int64(), "x": arrow.float64(), "big": arrow.decimal128(38, 0), "none": arrow.string()}
    assert {name: found.schema.field(name).type for name in kinds} == kinds
    assert found.schema.names == ["task_index", "n", "x", "big", "none", "list", "task_error"]
    assert found.to_pylist()[1]["big"] == Decimal(2**63)


def test_not_a_number_is_no_null() -> None:
    assert math.isnan(rows([0, math.nan])[1]["result"])


@pytest.mark.parametrize(
    ("results", "reason"),
    [
        ([0] * MANY + ["n/a"], "'result' is a number in some, and a text in task 20"),
        ([1, True], "'result' is a number in some, and a truth value in task 1"),
        ([{"a": [1]}, {"a": 1}], "'a' is a list in some, and a number in task 1"),
        ([{"g": {"a": 1}}, {"g": "x"}], "'g' is an object in some, and a text in task 1"),
        ([[1, "x"]], r"'result\[\]' is a number in some, and a text in task 0"),
        ([{"g": {"a": 1}}, {"g": {"a": [1]}}], r"'g\.a' is a number in some, and a list in task 1"),
        ([2**53 + 1, 0.5], "'result' has the integer 9007199254740993 and fractions, up to task 1"),
        ([0.5] * MANY + [-(2**53) - 1], "'result' has the integer -9007199254740993 and fractions, up to task 20"),
        ([10**38], "'result' has an integer of over 38 digits in task 0"),
        ([{"g": {}}], "'g' is an empty object in all"),
        ([{"l": [{}]}], r"'l\[\]' is an empty object in all"),
        ([{"task_index": 77}], "task 0 has its own 'task_index'"),
        ([{"task_index": 0}, {"task_index": 1.0}], "task 1 has its own 'task_index'"),
        ([{"task_error": "mine"}], "task 0 has its own 'task_error'"),
        ([{1: "a", "1": "b"}], "task 0: an object has '1' twice"),
        (["\ud800"], "surrogates not allowed"),
        ([{"\ud800": 1}], "surrogates not allowed"),
        ([json.loads("[" * 40 + "]" * 40)], "task 0 is nested over 32 deep"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_no_column_holds_unchanged(results: list[Any], reason: str) -> None:
    with pytest.raises(NotTabular, match=rf"^the results do not fit columns: .*{reason}.*; write them to a \.jsonl"):
        table(results)
    lines = io.BytesIO()
    assert write_results(results, lines, "jsonl") == len(results)


def test_its_own_index_is_no_other() -> None:
    """A handler may return context.task_index: the column has it already."""
    assert rows([{"task_index": n, "v": 1, "task_error": None} for n in range(3)]) == [{"v": 1}] * 3


def test_results_whose_keys_are_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_columns, "MAX_COLUMNS", 100)
    with pytest.raises(NotTabular, match="task 100 makes them over 100 columns"):
        table({f"trade-{n}": n} for n in range(1000))


def test_failures_are_rows() -> None:
    failed = TaskFailed("s-1", 1, TaskError("ValueError", "no", ""))
    found = table([{"v": 1}, failed, {"v": 2.5}]).to_pylist()
    assert [row["task_error"] for row in found] == [None, "ValueError: no", None]
    assert [row["v"] for row in found] == [1.0, None, 2.5]


def test_no_results_and_none_but_failures() -> None:
    assert table([]).schema.names == ["task_index", "task_error"]
    assert table([TaskFailed("s-1", 0, TaskError("E", "x", ""))]).to_pylist() == [
        {"task_index": 0, "task_error": "E: x"}
    ]


def test_memory_does_not_grow_with_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are written as soon as there are enough of them, also if each is large."""
    monkeypatch.setattr(row_batches, "BATCH_BYTES", 1 << 20)
    before, most = arrow.total_allocated_bytes(), 0
    real = parquet.ParquetWriter.write_table

    def watched(self: Any, batch: Any, *args: Any) -> None:
        nonlocal most
        most = max(most, arrow.total_allocated_bytes() - before)
        real(self, batch, *args)

    monkeypatch.setattr(parquet.ParquetWriter, "write_table", watched)

    class Nowhere(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            return len(data)

    write_results(("x" * 100_000 for _ in range(300)), Nowhere(), "parquet")  # type: ignore[arg-type]
    assert 0 < most < 8 << 20, "all together have 30 MB"


class Side(Enum):
    BUY = 1


@pytest.mark.parametrize(
    "value",
    [
        np.datetime64("2026-01-02T03:04:05", "ns"),
        np.array(["2026-01-02"], "datetime64[ns]"),
        np.timedelta64(5, "ns"),
        np.timedelta64(5, "s"),
        np.timedelta64("NaT"),
        {"a": [np.datetime64("2026-01-02")]},
        np.array([(1, 5)], [("n", "i8"), ("t", "m8[ns]")]),
    ],
    ids=repr,
)
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_numpys_times_are_refused_as_other_dates_are(value: Any, kind: Any) -> None:
    """Those of nanoseconds became integers, and time spans bare numbers."""
    with pytest.raises(InvalidInput, match=r"the result of task 1 is not JSON \(a .*\): let the function return JSON"):
        write_results([1, value], io.BytesIO(), kind)


def test_numpys_numbers_and_enums_are_their_values() -> None:
    values = [np.float32(0.5), np.int64(1), np.arange(2), np.array([[True]]), Side.BUY]
    assert rows([{"v": value} for value in (values[0], values[1], values[4])]) == [{"v": 0.5}, {"v": 1.0}, {"v": 1.0}]
    lines = io.BytesIO()
    write_results(values, lines, "jsonl")
    assert [json.loads(line) for line in lines.getvalue().splitlines()] == [0.5, 1, [0, 1], [[True]], 1]


class Sample:
    """A session whose results are given."""

    def __init__(self, *results: Any) -> None:
        self._results = results

    def results(self, errors: str = "raise") -> Iterator[Any]:
        return iter(self._results)


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    attach("memory", fs=fsspec.filesystem("memory"))
    return str(tmp_path) if request.param == "local" else f"memory:/{tmp_path}"


def content(place: str) -> bytes | None:
    storage = fsspec.filesystem("memory" if place.startswith("memory:") else "file")
    path = place.removeprefix("memory:/")
    return bytes(storage.cat_file(path)) if storage.exists(path) else None


class TestFallback:
    """The work of a session is not lost because one of its results has another type."""

    def test_airflow(self, folder: str, caplog: pytest.LogCaptureFixture) -> None:
        place = f"{folder}/values.parquet"
        manifest = collect(Sample(1, 2), place, {"session_id": "s"})  # type: ignore[arg-type]
        assert manifest == {"session_id": "s", "results": place}
        assert content(place)
        with caplog.at_level(logging.WARNING):
            manifest = collect(Sample(1, "n/a"), place, {})  # type: ignore[arg-type]
        assert manifest == {"results": f"{place}.jsonl"}
        assert content(f"{place}.jsonl") == b'1\n"n/a"\n'
        assert content(place) is None, "what an earlier run left there would be taken for these results"
        assert f"{place} is not written, {place}.jsonl is: 'result' is a number in some" in caplog.text
        assert place_of(manifest["results"]) == place_of(f"{place}.jsonl")

    def test_command_line(self, grid: Grid, tmp_path: Path) -> None:
        place = tmp_path / "values.parquet"

        def results_of(events: list[Any], *options: str) -> Any:
            session = grid.submit("tests.airflow.handlers.seen_by_name", events)
            session.wait()
            arguments = ["results", session.id, "--url", grid.url, "--output", str(place), *options]
            return CliRunner().invoke(cli, arguments)

        ran = results_of([{"v": 0}, {"v": 2.5}])
        assert (ran.exit_code, ran.stdout) == (0, ""), ran.output
        assert parquet.read_table(place).column("v").to_pylist() == [0.0, 2.5]
        assert f"2 rows written to {place}" in ran.stderr
        ran = results_of([{"v": 0}, {"v": "n/a"}], "--json")
        assert ran.exit_code == 0
        assert json.loads(ran.stdout)["output"] == f"{place}.jsonl"
        assert f"{place} is not written, {place}.jsonl is: 'v' is a number in some" in ran.stderr
        assert Path(f"{place}.jsonl").read_text() == '{"v": 0}\n{"v": "n/a"}\n'
        assert not place.exists()
