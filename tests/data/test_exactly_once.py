"""Writers that are killed, that race and that are retried: each row is in the table once, as other readers count."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.data.writing import KINDS, counted, rows_of, sink_of, values
from tests.e2e.support import REPOSITORY

pytestmark = pytest.mark.parametrize("kind", KINDS)
TOTAL = sum(row["value"] for row in values(20_000))


def killed_writer(kind: str, folder: Path, url: str, seconds: float) -> None:
    """Start one, let it write for so long, and kill it."""
    command = [sys.executable, "-m", "tests.data.writing", kind, str(folder), url]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
        else:
            pytest.fail("the writer ended by itself")


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_any_moment(kind: str, kills: int, tmp_path: Path, engine_url: str, server: str) -> None:
    sink_of(kind, tmp_path, engine_url).replace(rows_of("other", values(10)))
    moments = random.Random(f"{kind} {kills}")
    for _ in range(kills):
        killed_writer(kind, tmp_path, engine_url, moments.uniform(0.0, 0.8))
        found = counted(kind, tmp_path, server)
        assert found.get("killed", (20_000, 20_000, TOTAL)) == (20_000, 20_000, TOTAL)
    sink_of(kind, tmp_path, engine_url).replace(rows_of("killed", values(20_000)))
    found = counted(kind, tmp_path, server)
    assert found == {"killed": (20_000, 20_000, TOTAL), "other": (10, 10, sum(row["value"] for row in values(10)))}


def test_writers_of_one_session_at_once(kind: str, tmp_path: Path, engine_url: str, server: str) -> None:
    sink_of(kind, tmp_path, engine_url).replace(rows_of("first", values(10)))
    failures: list[BaseException] = []

    def write(session: str) -> None:
        try:
            sink_of(kind, tmp_path, engine_url).replace(rows_of(session, values(500)))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(session,)) for session in ("a", "a", "a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    found = counted(kind, tmp_path, server)
    assert {session: rows[:2] for session, rows in found.items()} == {
        "first": (10, 10),
        "a": (500, 500),
        "b": (500, 500),
    }


def test_fewer_rows_replace_more(kind: str, tmp_path: Path, engine_url: str, server: str) -> None:
    there = sink_of(kind, tmp_path, engine_url)
    there.check()
    there.replace(rows_of("it's", values(100)))
    there.check()
    there.replace(rows_of("it's", values(30, factor=2.0)))
    assert counted(kind, tmp_path, server) == {"it's": (30, 30, sum(row["value"] for row in values(30, 2.0)))}
