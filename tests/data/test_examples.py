"""The example of a day from a table to a table, as its user would run it: twice, and once more with other input."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import deltalake
import pyarrow.parquet as pq
import pytest

import value_at_risk_day_script as script
from tests.e2e.support import fresh_grid

MODELS = {"historical", "normal", "student", "riskmetrics", "garch", "filtered"}


@pytest.mark.timeout(300)
def test_a_day_from_parquet_to_delta_and_postgresql(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    engine_url: str,
    database: Any,
) -> None:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["value_at_risk_day_script.py", "--url", url, *arguments])
        assert script.main() == 0
        return capsys.readouterr().out

    to_table = ("--to", engine_url, "--table", "risk")
    with fresh_grid(tmp_path / "home") as url:
        first, again = run(), run()
        assert first.splitlines()[-1] == again.splitlines()[-1]  # the same session
        assert "2026-01-02: 24 books" in first
        run(*to_table)
        file = tmp_path / "books" / "day=2026-01-02" / "books.parquet"
        pq.write_table(pq.read_table(file).slice(0, 20), file)  # four books fewer: other input, another session
        assert "2026-01-02: 20 books" in run()
        run(*to_table)

    rows = deltalake.DeltaTable(tmp_path / "risk").to_pyarrow_table().to_pylist()
    expected = [("2026-01-02", f"book-{number:02}") for number in range(20)]
    assert sorted((row["session"], row["book"]) for row in rows) == expected
    assert all(set(row) == {"session", "task_index", "book", *MODELS} and row["normal"] > 0 for row in rows)
    assert database.execute("SELECT session, book FROM risk ORDER BY book").fetchall() == expected
