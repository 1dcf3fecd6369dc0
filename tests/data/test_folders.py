"""Folders of files: partitions, filters, one order, and what is refused."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest

from htcgrid_core import InvalidInput, source

ROW = {"id": 1, "price": Decimal("1.50"), "at": datetime(2026, 1, 2, 3, tzinfo=UTC), "on": date(2026, 1, 2)}
SCHEMA = pa.schema(
    [("id", pa.int64()), ("price", pa.decimal128(18, 2)), ("at", pa.timestamp("us", "UTC")), ("on", pa.date32())]
)


def parquet(path: Path, rows: Sequence[Mapping[str, Any]], schema: pa.Schema = SCHEMA) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """Three days of two desks, five rows each."""
    number = 0
    for day in ("2026-01-10", "2026-01-02", "2026-01-01"):
        for desk in ("007", "__HIVE_DEFAULT_PARTITION__"):
            rows = [{**ROW, "id": (number := number + 1)} for _ in range(5)]
            parquet(tmp_path / "lake" / f"day={day}" / f"desk={desk}" / "part-0.parquet", rows)
    (tmp_path / "lake" / "_SUCCESS").touch()
    (tmp_path / "lake" / ".hidden.parquet").write_bytes(b"no table")
    return tmp_path / "lake"


def test_files_in_the_order_of_their_paths_with_values_of_folders_as_texts(lake: Path) -> None:
    rows = list(source(lake))
    assert [row["id"] for row in rows] == [*range(21, 31), *range(11, 21), *range(1, 11)]
    assert (rows[0]["day"], rows[0]["desk"], rows[5]["desk"]) == ("2026-01-01", "007", None)
    assert rows == list(source(lake))


def test_types_of_finance_as_objects_and_as_json(lake: Path) -> None:
    found = source(lake, columns=["price", "at", "on"])
    assert next(iter(found)) == {name: ROW[name] for name in ("price", "at", "on")}
    assert next(iter(found.as_json())) == {"price": "1.50", "at": "2026-01-02T03:00:00+00:00", "on": "2026-01-02"}


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        (["day=2026-01-02", "id>=14"], list(range(14, 21))),
        ([("day", "in", ["2026-01-01"]), ("desk", "=", "007")], list(range(21, 26))),
        ([("id", "<", 3)], [1, 2]),
        (["on=2026-01-02", "price>1.4", "id=7"], [7]),
        (["at<2026-01-02T03:00:00Z"], []),
    ],
)
def test_filters(lake: Path, where: Any, ids: list[int]) -> None:
    assert [row["id"] for row in source(lake, where=where, columns=["id"])] == ids


def test_folders_that_can_hold_no_row_are_not_read(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    found = source(lake, where=[("day", ">", date(2026, 1, 5))], partitions={"day": "date"})

    def noted(stream: Any, name: str, columns: Any) -> Iterator[Any]:
        opened.append(name)
        return iter(())

    monkeypatch.setattr("htcgrid_core.data.folder.parquet_batches", noted)
    assert list(found) == []
    assert len(opened) == 2
    assert all("day=2026-01-10" in name for name in opened)


def test_a_number_is_not_compared_with_texts(lake: Path) -> None:
    with pytest.raises(InvalidInput, match=r"column 'desk' has texts, and 7 is none.*partitions="):
        list(source(lake, where=[("desk", "=", 7)]))
    assert len(list(source(lake, where=[("desk", "=", 7)], partitions={"desk": "int32"}))) == 15


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": ["nope"]}, "no column 'nope'"),
        ({"where": ["nope=1"]}, "no column 'nope'"),
        ({"where": ["nonsense"]}, "no condition"),
        ({"where": [("id", "~", 1)]}, "no operator"),
        ({"partitions": {"day": "datum"}}, "no type"),
        ({"separator": ";"}, "without separator"),
        ({"query": "SELECT 1"}, "without query"),
    ],
)
def test_options_that_have_no_meaning(lake: Path, options: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        list(source(lake, **options))


def test_the_token_is_that_of_the_input(lake: Path) -> None:
    first = source(lake).token("price")
    assert source(lake).token("price") == first != source(lake).token("value")
    assert source(lake, where=["id=1"]).token("price") != first
    parquet(lake / "day=2026-01-11" / "desk=007" / "part-0.parquet", [ROW])
    assert source(lake).token("price") != first


def test_a_file_that_changes_while_it_is_read_is_an_error(lake: Path) -> None:
    rows = iter(source(lake))
    next(rows)
    parquet(lake / "day=2026-01-10" / "desk=007" / "part-0.parquet", [ROW])
    with pytest.raises(InvalidInput, match=r"day=2026-01-10.*has changed since the source was opened"):
        list(rows)


def test_a_truncated_file_is_told_before_anything_is_read(lake: Path) -> None:
    path = lake / "day=2026-01-10" / "desk=007" / "part-0.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InvalidInput, match=r"day=2026-01-10.*damaged, or cut short"):
        source(lake)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (pa.schema([("id", pa.float64()), *list(SCHEMA)[1:]]), "column 'id' is double, and int64 in"),
        (pa.schema(list(SCHEMA)[1:]), "has no column 'id'"),
        (SCHEMA.append(pa.field("more", pa.int64())), "has no column 'more'"),
    ],
)
def test_files_that_differ_are_refused_with_file_and_column(lake: Path, schema: pa.Schema, message: str) -> None:
    parquet(lake / "day=2026-01-03" / "desk=007" / "x.parquet", [{}], schema)
    with pytest.raises(InvalidInput, match=f"day=2026-01-03.*{message}|{message}.*day=2026-01-03"):
        source(lake)


def test_lines_and_csv_compressed_or_not(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text('{"n": 3}\n')
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"n": 1}\n{"n": 2}\n'))
    assert list(source(tmp_path)) == [{"n": 1}, {"n": 2}, {"n": 3}]
    (tmp_path / "x.csv").write_text("n;m\n1;2\n")
    with pytest.raises(InvalidInput, match="several kinds"):
        source(tmp_path)
    assert list(source(f"{tmp_path}/*.csv", separator=";")) == [{"n": "1", "m": "2"}]
    with pytest.raises(InvalidInput, match="columns, where and partitions are of Parquet"):
        source(f"{tmp_path}/*.csv", where=["n=1"])


def test_zstd(tmp_path: Path) -> None:
    from backports import zstd

    whole = zstd.compress(b'{"n": 1}\n' * 100_000)
    (tmp_path / "a.jsonl.zst").write_bytes(whole)
    assert sum(row["n"] for row in source(tmp_path)) == 100_000
    (tmp_path / "a.jsonl.zst").write_bytes(whole[:-10])
    with pytest.raises(InvalidInput, match=r"a\.jsonl\.zst cannot be read.*cut short"):
        list(source(tmp_path))


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"n": 1}\n{"n": "\xff"}\n')
    with pytest.raises(InvalidInput, match=r"a\.jsonl, line 2"):
        list(source(tmp_path))


@pytest.mark.parametrize("is_stream", [True, False])
def test_arrow_files_and_streams(tmp_path: Path, is_stream: bool) -> None:
    table = pa.Table.from_pylist([{**ROW, "id": number} for number in range(25_000)], schema=SCHEMA)
    path = tmp_path / ("a.arrows" if is_stream else "a.arrow")
    with (ipc.new_stream if is_stream else ipc.new_file)(path, SCHEMA) as writer:
        writer.write_table(table, max_chunksize=10_000)
    assert list(source(path)) == table.to_pylist()
    assert [row["id"] for row in source(path, columns=["id"], where=["id>=24999"])] == [24_999]
    whole = path.read_bytes()
    for left in (len(whole) - 8, len(whole) // 2):
        path.write_bytes(whole[:left])
        with pytest.raises(InvalidInput, match="damaged"):
            list(source(path))


def test_nothing_to_read(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nope", f"{tmp_path}/*.parquet"):
        with pytest.raises(InvalidInput, match=r"no files to read|no such file"):
            source(place)


def test_a_storage_of_objects(lake: Path) -> None:
    """The same through pyarrow's file systems, of which this one needs no server."""
    from htcgrid_core.data.folder import FolderSource
    from htcgrid_core.data.places import RemotePlace

    found = FolderSource(RemotePlace(f"file://{lake}"), where=["day=2026-01-02"])
    assert list(found) == list(source(lake, where=["day=2026-01-02"]))
    assert len(list(FolderSource(RemotePlace(f"file://{lake}/day=2026-01-0*/*/*.parquet")))) == 20


def test_a_link_to_a_folder_around_it(tmp_path: Path) -> None:
    (tmp_path / "book" / "desk").mkdir(parents=True)
    (tmp_path / "book" / "a.jsonl").write_text("1\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.jsonl").write_text("2\n")
    (tmp_path / "book" / "desk" / "more").symlink_to(tmp_path / "more")
    assert list(source(tmp_path / "book")) == [1, 2]
    (tmp_path / "book" / "desk" / "loop").symlink_to(tmp_path / "book")
    with pytest.raises(InvalidInput, match="link to a folder around it"):
        source(tmp_path / "book")


@pytest.mark.parametrize("end", ["", ".gz"])
def test_csv_whose_headers_differ_is_refused_with_both_files(tmp_path: Path, end: str) -> None:
    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.csv{end}").write_bytes(gzip.compress(text.encode()) if end else text.encode())

    write("a", "id,value\n1,2\n")
    write("b", "value,id\n3,4\n")  # another order is the same columns
    assert list(source(tmp_path)) == [{"id": "1", "value": "2"}, {"id": "4", "value": "3"}]
    write("c", "id\n5\n")
    with pytest.raises(InvalidInput, match=r"c\.csv.* has no column 'value', which .*a\.csv"):
        source(tmp_path)
    write("c", "id,value,extra\n5,6,7\n")
    with pytest.raises(InvalidInput, match=r"a\.csv.* has no column 'extra', which .*c\.csv"):
        source(tmp_path)
    write("c", "")
    with pytest.raises(InvalidInput, match=r"c\.csv.*, line 1: a header"):
        source(tmp_path)
