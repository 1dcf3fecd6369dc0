"""Where task vectors come from."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped] # no types
import pyarrow
import pyarrow.parquet as parquet
import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach

from htcgrid_airflow.callables import held
from htcgrid_airflow.vectors import events_of
from htcgrid_core import InvalidInput

ROWS = [{"name": "a", "years": 1}, {"name": "b", "years": 2}]


@pytest.fixture(autouse=True)
def _storage() -> None:
    """Object storage that Airflow knows: in memory, by fsspec."""
    attach("memory", fs=fsspec.filesystem("memory"))


@pytest.fixture(params=["local", "file", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place on local disk, or on what fsspec knows."""
    kinds = {"local": str(tmp_path), "file": f"file://{tmp_path}", "memory": f"memory://{tmp_path}"}
    return kinds[request.param]


def write(url: str, data: bytes) -> str:
    """Put a file there."""
    place: Any = ObjectStoragePath(url) if "://" in url else Path(url)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return url


def test_json_lines(folder: str) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    assert list(events_of(write(f"{folder}/events.jsonl", lines.encode()))) == ROWS


def test_a_json_array(folder: str) -> None:
    assert list(events_of(write(f"{folder}/events.json", json.dumps(ROWS).encode()))) == ROWS


def test_csv(folder: str) -> None:
    events = events_of(write(f"{folder}/events.csv", b"name,years\na,1\nb,2\n"))
    assert list(events) == [{"name": "a", "years": "1"}, {"name": "b", "years": "2"}]


def test_parquet(folder: str) -> None:
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), sink)
    assert list(events_of(write(f"{folder}/events.parquet", sink.getvalue().to_pybytes()))) == ROWS


def test_the_format_may_be_told(folder: str) -> None:
    assert list(events_of(write(f"{folder}/events.txt", b"1\n2\n"), kind="jsonl")) == [1, 2]


def test_how_a_file_is_read_may_be_told(folder: str) -> None:
    """A header with semicolons is refused otherwise, as it would be one column."""
    path = write(f"{folder}/events.csv.gz", gzip.compress("name;years\nä;1,5\n".encode("cp1252")))
    options = {"separator": ";", "decimal": ",", "encoding": "cp1252"}
    assert list(events_of(path, options=options)) == [{"name": "ä", "years": "1.5"}]
    with pytest.raises(InvalidInput, match="option separator"):
        list(events_of(write(f"{folder}/plain.csv", b"name;years\na;1\n")))
    with pytest.raises(InvalidInput, match="is read without dates"):
        list(events_of(path, options={"dates": "text"}))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("events.jsonl", b'1\n{"a": \n', "line 2: not a JSON value"),
        ("events.json", b'{"a": 1}', "a dict, not an array"),
        ("events.csv", b"a,b\n1,2\n3\n", "line 3: 1 of 2 columns"),
        ("events.parquet", b"PAR1 or so", "after row 0: not Parquet"),
    ],
)
def test_malformed_files(folder: str, name: str, data: bytes, message: str) -> None:
    path = write(f"{folder}/{name}", data)
    with pytest.raises(InvalidInput, match=message) as wrong:
        list(events_of(path))
    assert name in str(wrong.value)


def test_no_such_file(folder: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        list(events_of(f"{folder}/none.jsonl"))


def test_storage_that_is_not_installed() -> None:
    message = r"nowhere://bucket/events\.jsonl cannot be read: (Unsupported filesystem|No filesystem)"  # 3.2; 3.1
    with pytest.raises(InvalidInput, match=message):
        list(events_of("nowhere://bucket/events.jsonl"))


def test_no_such_format(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="'xml' is not a format of events: jsonl, json, csv, parquet"):
        events_of(str(tmp_path / "events.xml"), kind="xml")


def test_a_callable_with_arguments() -> None:
    assert list(events_of(held(lambda start, end: range(start, end)), kwargs={"start": 2, "end": 4})) == [2, 3]


def test_a_callable_that_returns_no_vector() -> None:
    with pytest.raises(InvalidInput, match="is a int, not a vector of events"):
        events_of(held(lambda: 5))


def test_a_large_file_is_streamed(tmp_path: Path) -> None:
    """A million rows are never in memory together."""
    path = tmp_path / "events.parquet"
    table = pyarrow.table({"number": range(1_000_000)})
    parquet.write_table(table, path, row_group_size=50_000)
    del table
    before = pyarrow.total_allocated_bytes()
    most = total = 0
    for event in events_of(str(path)):
        total += event["number"]
        if event["number"] % 10_000 == 0:
            most = max(most, pyarrow.total_allocated_bytes() - before)
    assert total == 499_999_500_000
    assert most < 4 << 20, "the table has 8 MB"
