"""Rows for sinks without a grid, and sinks by name; as a program, a writer that tests kill."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from htcgrid_core import ResultRows, ResultSink, sink
from htcgrid_core.client.result_files import as_typed_json

SCHEMA = pa.schema(
    [
        pa.field("session", pa.string(), nullable=False),
        pa.field("task_index", pa.int64(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("note", pa.string()),
    ]
)
KINDS = ("delta", "iceberg", "postgresql")


def rows_of(session: str, results: Iterable[Mapping[str, Any]]) -> ResultRows:
    """A session's rows, by their place."""
    rows = ResultRows(session)
    rows.put((index, dict(row), as_typed_json(row, index)) for index, row in enumerate(results))
    return rows


def values(count: int, factor: float = 1.5) -> list[dict[str, Any]]:
    """So many results."""
    return [{"value": index * factor, "note": f"n{index}"} for index in range(count)]


def iceberg_table(folder: Path) -> Any:
    """A table of results in a catalog of its own, made if there is none."""
    from pyiceberg.catalog.sql import SqlCatalog

    folder.mkdir(exist_ok=True)
    catalog = SqlCatalog("tests", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}")
    catalog.create_namespace_if_not_exists("risk")
    return catalog.create_table_if_not_exists("risk.results", schema=SCHEMA)


def sink_of(kind: str, folder: Path, url: str) -> ResultSink:
    """A sink of this kind, in a folder or a database."""
    if kind == "delta":
        return sink(f"delta:{folder}/delta")
    if kind == "iceberg":
        return sink(iceberg_table(folder / "iceberg"))
    return sink(url, table="results")


def counted(kind: str, folder: Path, server: str) -> dict[str, tuple[int, int, float]]:
    """Rows, tasks and the sum of values of each session, as another reader sees them: duckdb, psql's own driver."""
    import duckdb

    query = "SELECT session, count(*), count(DISTINCT task_index), coalesce(sum(value), 0) FROM {} GROUP BY session"
    if kind == "postgresql":
        import psycopg

        with psycopg.connect(server) as connection:
            found = connection.execute(query.format("results")).fetchall()
    else:
        table = _arrow_of(kind, folder)
        database = duckdb.connect()
        database.register("results", table)
        found = database.execute(query.format("results")).fetchall()
    return {str(session): (int(rows), int(tasks), float(total)) for session, rows, tasks, total in found}


def _arrow_of(kind: str, folder: Path) -> Any:
    """The files of the table's newest version, which duckdb reads."""
    import duckdb

    if kind == "delta":
        import deltalake

        files = deltalake.DeltaTable(str(folder / "delta")).file_uris()
    else:
        files = [task.file.file_path for task in iceberg_table(folder / "iceberg").scan().plan_files()]
    if not files:
        return SCHEMA.empty_table()
    return duckdb.read_parquet([name.removeprefix("file://") for name in files]).to_arrow_table()


def main() -> None:
    """Replace the rows of session ``killed`` over and over; a line for each time it is done."""
    kind, folder, url = sys.argv[1:]
    rows = rows_of("killed", values(20_000))
    print("ready", flush=True)
    while True:
        sink_of(kind, Path(folder), url).replace(rows)
        print("written", flush=True)


if __name__ == "__main__":
    main()
