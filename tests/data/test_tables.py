"""Delta, Iceberg and data frames as events."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import deltalake
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from htcgrid_core import InvalidInput, source

TABLE = pa.table(
    {
        "id": list(range(6)),
        "price": pa.array([Decimal("1.50")] * 6, pa.decimal128(18, 2)),
        "at": pa.array([datetime(2026, 1, 2, tzinfo=UTC)] * 6, pa.timestamp("us", "UTC")),
        "desk": ["a", "b", None, "a", "b", "a"],
    }
)


def ids(found: Any) -> list[int]:
    return [row["id"] for row in found]


@pytest.fixture
def delta(tmp_path: Path) -> str:
    deltalake.write_deltalake(tmp_path / "delta", TABLE, partition_by=["desk"])
    return str(tmp_path / "delta")


def test_delta_at_a_version_whatever_is_written_meanwhile(delta: str) -> None:
    found = source(delta)
    rows = iter(found)
    first = next(rows)
    deltalake.write_deltalake(delta, TABLE.slice(0, 1), mode="overwrite")
    assert sorted([first["id"], *ids(rows)]) == list(range(6))
    assert list(source(delta, version=0)) == list(found)
    assert source(delta, version=0).token("x") == found.token("x") != source(delta).token("x")
    assert ids(source(f"delta:{delta}")) == [0]


def test_delta_with_its_types_partitions_and_filters(delta: str) -> None:
    assert {row["id"]: row["desk"] for row in source(delta)} == dict(enumerate(TABLE["desk"].to_pylist()))
    (row,) = source(delta, where=["desk=a", "id>3"], columns=["price", "at", "id"]).as_json()
    assert row == {"price": "1.50", "at": "2026-01-02T00:00:00+00:00", "id": 5}


def test_delta_columns_that_came_later_are_null_before(delta: str) -> None:
    more = TABLE.append_column("more", pa.array(range(6)))
    deltalake.write_deltalake(delta, more, mode="append", schema_mode="merge")
    assert sorted(str(row["more"]) for row in source(delta, columns=["more"])) == [*"012345", *["None"] * 6]


def test_delta_that_is_none(tmp_path: Path, delta: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be read as Delta"):
        source(f"delta:{tmp_path}/nope")
    with pytest.raises(InvalidInput, match="cannot be read as Delta"):
        source(delta, version=7)
    with pytest.raises(InvalidInput, match="no column 'nope'"):
        source(delta, columns=["nope"])


def test_iceberg_at_a_snapshot(catalog: Any) -> None:
    table = catalog.create_table("risk.trades", schema=TABLE.schema)
    assert list(source(table)) == []
    table.append(TABLE.slice(0, 4))
    found = source(table)
    table.append(TABLE.slice(4))
    assert sorted(ids(found)) == [0, 1, 2, 3]
    assert sorted(ids(source(table))) == list(range(6))
    assert list(source(table)) == list(source(table))
    snapshot = table.metadata.snapshots[0].snapshot_id
    assert source(table, snapshot=snapshot).token("x") == found.token("x") != source(table).token("x")
    (row,) = source(table, where=["desk=a", "id>3"], columns=["price", "at", "id"]).as_json()
    assert row == {"price": "1.50", "at": "2026-01-02T00:00:00+00:00", "id": 5}
    with pytest.raises(InvalidInput, match="no snapshot 7"):
        source(table, snapshot=7)


def test_iceberg_by_its_name(catalog: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog.create_table("risk.trades", schema=TABLE.schema).append(TABLE)
    monkeypatch.setenv("PYICEBERG_CATALOG__TESTS__URI", catalog.properties["uri"])
    monkeypatch.setenv("PYICEBERG_CATALOG__TESTS__WAREHOUSE", catalog.properties["warehouse"])
    monkeypatch.setattr("pyiceberg.catalog._ENV_CONFIG", __import__("pyiceberg.utils.config").utils.config.Config())
    assert sorted(ids(source("iceberg://tests/risk.trades"))) == list(range(6))
    with pytest.raises(InvalidInput, match="no such table"):
        source("iceberg://tests/risk.nope")
    with pytest.raises(InvalidInput, match="write iceberg://CATALOG"):
        source("iceberg://tests")


FRAME = {"id": [1, 2], "price": [Decimal("1.10"), None], "on": [date(2026, 1, 2), None], "name": ["x", None]}


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_frames_are_their_rows(make: Any) -> None:
    found = source(make(FRAME))
    rows = list(found)
    assert rows == [
        {"id": 1, "price": Decimal("1.10"), "on": date(2026, 1, 2), "name": "x"},
        {"id": 2, "price": None, "on": None, "name": None},
    ]
    assert next(iter(found.as_json())) == {"id": 1, "price": "1.10", "on": "2026-01-02", "name": "x"}
    assert found.is_ordered
    assert source(make(FRAME)).token("x") == found.token("x") != source(make({**FRAME, "id": [1, 3]})).token("x")


def test_a_frame_that_is_no_table() -> None:
    with pytest.raises(InvalidInput, match="column of several types"):
        source(pd.DataFrame({"x": [1, "a"]}))


def test_a_stream_is_read_once_and_staged() -> None:
    found = source(TABLE.to_reader(max_chunksize=2))
    assert not found.is_ordered
    assert sorted(ids(found)) == list(range(6))
    with pytest.raises(InvalidInput, match="read already"):
        list(found)
    with pytest.raises(InvalidInput, match="no identity"):
        found.token("x")


def test_files_of_a_delta_table_are_not_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that were replaced lie in files beside the others."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in (1, 2):
        table = pa.table({"day": ["a", "b"], "value": [value, value]})
        deltalake.write_deltalake(tmp_path / "lake" / "trades", table, mode="overwrite", partition_by=["day"])
    assert sorted(row["value"] for row in source("~/lake/trades")) == [2, 2]
    for place in ("lake", "lake/trades/day=a", "lake/*/*/*.parquet"):
        with pytest.raises(InvalidInput, match="holds a Delta table"):
            source(f"{tmp_path}/{place}")
