"""Secrets stay where they are, and what was tampered with is never loaded."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Grid, SignatureInvalid
from htcgrid_core.codecs.signing import Key, seal
from htcgrid_core.domain.retry import RetryPolicy
from htcgrid_core.local.agent_processes import stop_agents
from htcgrid_core.local.directory import Directory
from tests.e2e.support import fresh_grid
from tests.planes import plane_of

CANARY = "canary-5f1e7c0b"
ONCE = RetryPolicy(max_attempts=1)

SUBMIT = """
import os, sys
from htcgrid_core import connect
from tests.planes import plane_of

def environment(event):
    return dict(os.environ)

with connect(sys.argv[1]) as grid:
    (found,) = grid.submit(environment, [0]).results()
    print(found)
"""


class Bomb:
    """Unpickling it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_no_secret_of_the_environment_reaches_a_handler_or_the_disk(tmp_path: Path) -> None:
    """Neither the submitter's environment nor the agent's is stored, logged or given to handlers."""
    secrets = {"AWS_SECRET_ACCESS_KEY": CANARY, "PREFECT_API_KEY": CANARY, "MY_PASSWORD": CANARY}
    with fresh_grid(tmp_path / "grid") as url:
        done = subprocess.run(
            [sys.executable, "-c", SUBMIT, url], env={**os.environ, **secrets}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "PATH" in done.stdout
        assert CANARY not in done.stdout + done.stderr
        files = [path for path in (tmp_path / "grid").rglob("*") if path.is_file()]
        assert any(path.suffix == ".log" for path in files)
        for path in files:
            assert CANARY.encode() not in path.read_bytes(), path


def identity(event: int) -> int:
    return event


@pytest.mark.parametrize("signed_with", [b"", b"another key"])
def test_a_tampered_function_is_not_loaded(grid: Grid, tmp_path: Path, signed_with: bytes) -> None:
    """Whoever can write a blob but does not know the key cannot make a worker run code."""
    trace = tmp_path / "exploded"
    assert list(grid.submit(identity, [1]).results()) == [1]
    directory = Directory(tmp_path / "grid")
    stop_agents(directory)  # they would not read it again
    (blob,) = (directory.blobs / "functions").iterdir()
    bomb = pickle.dumps(Bomb(trace))
    blob.chmod(0o600)
    blob.write_bytes(seal(Key(signed_with), "", "function", bomb) if signed_with else bomb)
    session = grid.submit(identity, [1], retry=ONCE)
    (failure,) = session.results(errors="return")
    assert failure.error.type == "CorruptPayload"
    assert not trace.exists()


def test_a_function_that_changes_after_it_was_verified_is_not_loaded(grid: Grid, tmp_path: Path) -> None:
    """The agent does not read it again; the worker that loads it looks at what it loads."""
    trace = tmp_path / "exploded"
    assert list(grid.submit(identity, [1]).results()) == [1]
    (blob,) = (Directory(tmp_path / "grid").blobs / "functions").iterdir()
    blob.chmod(0o600)
    blob.write_bytes(seal(Key(b"another key"), "", "function", pickle.dumps(Bomb(trace))))
    session = grid.submit(identity, [1], retry=ONCE, memory_mb=512)  # of a worker of its own
    (failure,) = session.results(errors="return")
    assert (failure.error.type, "does not have the digest" in failure.error.message) == ("InitError", True)
    assert not trace.exists()


def test_results_that_were_tampered_with_are_refused(grid: Grid, tmp_path: Path) -> None:
    """A page of pickled results is loaded only if the grid's key signed it for this session."""
    trace = tmp_path / "exploded"
    session = grid.submit(lambda event: event, [1, 2, 3])
    session.wait()
    connection = plane_of(grid).store._database.connection()  # type: ignore[attr-defined]  # the attacker's hands
    forged = seal(Key(b"another key"), session.id, "outcomes", pickle.dumps(Bomb(trace)))
    connection.execute("UPDATE outcomes SET data = ?, size = ?", (forged, len(forged)))
    with pytest.raises(SignatureInvalid):
        list(session.results())
    assert not trace.exists()


def test_one_sessions_results_do_not_pass_for_anothers(grid: Grid) -> None:
    """The signature covers the session, so pages cannot be moved."""
    first, second = (grid.submit(lambda event: event, [number]) for number in (1, 2))
    first.wait()
    second.wait()
    connection = plane_of(grid).store._database.connection()  # type: ignore[attr-defined]
    connection.execute(
        "UPDATE outcomes SET (data, size) = (SELECT data, size FROM outcomes WHERE session_id = ?)"
        " WHERE session_id = ?",
        (first.id, second.id),
    )
    with pytest.raises(SignatureInvalid):
        list(second.results())
