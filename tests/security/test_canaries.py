"""Secrets stay where they belong: in no log, no message, no row but the one that carries them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import InvalidEvent, RetryPolicy, SessionFailed, TaskFailed, connect
from htcgrid_core.domain.bundle import root_id
from htcgrid_core.domain.errors import GridError
from htcgrid_core.local.directory import Directory, open_plane
from htcgrid_core.ports.bundle_queue import Hint
from tests.e2e.support import REPOSITORY, directory_of, ended, fresh_grid
from tests.manual_agent import take
from tests.planes import gateway_of, plane_of, still_grid

CANARY = "canary-5d2f7e"
SOUGHT = CANARY.encode()


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A grid whose agent was started by somebody with secrets in their environment."""
    monkeypatch.syspath_prepend(str(REPOSITORY))
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "DATABASE_PASSWORD", "HTCGRID_TEST_SECRET"):
        monkeypatch.setenv(name, f"{CANARY}-env")
    with fresh_grid(tmp_path / "grid") as url:
        yield url


def rows_with(root: Path, text: bytes) -> set[str]:
    """The columns of the database in whose rows a text is."""
    found = set()
    with sqlite3.connect(root / "grid.db") as db:
        for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            cursor = db.execute(f"SELECT * FROM {table}")
            names = [column[0] for column in cursor.description]
            for row in cursor:
                for name, value in zip(names, row, strict=True):
                    data = value if isinstance(value, bytes) else str(value).encode()
                    if text in data:
                        found.add(f"{table}.{name}")
    return found


def files_with(root: Path, text: bytes) -> set[str]:
    """The files of a grid, but for its database, in which a text is."""
    return {
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith("grid.db") and text in path.read_bytes()
    }


def texts_of(error: BaseException) -> str:
    """All that is told of an error."""
    parts = [str(error), repr(error), *getattr(error, "__notes__", [])]
    if isinstance(error, SessionFailed):
        parts += [text for failure in error.failures for text in (str(failure), repr(failure.error))]
    return "\n".join(parts)


def test_the_canary_would_be_found(tmp_path: Path) -> None:
    """Or else nothing here could fail."""
    plane = open_plane(Directory(tmp_path))
    still_grid(plane).submit("math.sqrt", [CANARY], name=f"name {CANARY}")
    assert {"blocks.data", "sessions.name"} <= rows_with(tmp_path, SOUGHT)
    (tmp_path / "log").write_text(CANARY)
    assert files_with(tmp_path, SOUGHT) == {"log"}


def test_handlers_do_not_see_the_agents_secrets(url: str) -> None:
    with connect(url) as grid:
        session = grid.submit("tests.security.handlers.environment", [1])
        (environment,) = session.results()
        assert environment["PATH"]
        assert CANARY not in str(environment)
    root = directory_of(url).root
    assert rows_with(root, SOUGHT) == set()
    assert files_with(root, SOUGHT) == set()


@pytest.mark.parametrize("codec", ["json", "pickle"])
def test_events_are_told_to_nobody_but_their_handler(url: str, codec: str) -> None:
    """However their tasks end: well, by an exception, a crash, a time limit, nonsense, or not at all."""
    from tests.security import handlers

    function: Any = "tests.security.handlers.misbehave" if codec == "json" else handlers.misbehave
    kinds = ("well", "raise", "die", "hang", "nonsense")
    events = [{"how": how, "secret": f"{CANARY}-event"} for how in kinds]
    told: list[str] = []
    with connect(url) as grid:
        session = grid.submit(
            function, events, retry=RetryPolicy(max_attempts=1), task_timeout=1.0, max_failures=9, bundle_size=1
        )
        ended(session)
        results = list(session.results(errors="return"))
        assert [isinstance(result, TaskFailed) for result in results] == [False, True, True, True, True]
        told += [texts_of(result) for result in results if isinstance(result, TaskFailed)]
        told += [repr(task) for task in session.tasks()]
        told += [repr(session), repr(session.progress()), repr(session.history())]
        cancelled = grid.submit(function, [{"how": "hang", "secret": f"{CANARY}-event"}])
        cancelled.cancel()
        ended(cancelled)
        with pytest.raises(SessionFailed) as caught:
            list(cancelled.results())
        told.append(texts_of(caught.value))
        told += [repr(agent) for agent in plane_of(grid).store.agents(plane_of(grid).clock.now())]
    assert not [text for text in told if CANARY in text]
    root = directory_of(url).root
    assert rows_with(root, SOUGHT) == {"blocks.data"}
    assert files_with(root, SOUGHT) == set()
    assert (root / "agents" / "0.log").exists()


class Unpicklable:
    """An object with a secret that cannot be encoded in any way."""

    def __init__(self) -> None:
        self.secret = CANARY

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("cannot be pickled")


@pytest.mark.parametrize("function", ["math.sqrt", len])
@pytest.mark.parametrize("position", [0, 90])
def test_events_that_are_refused_are_not_repeated(tmp_path: Path, function: Any, position: int) -> None:
    """Neither in the error nor in the aborted session's reason."""
    plane = open_plane(Directory(tmp_path))
    grid = still_grid(plane)
    events = [*["x" * 100_000] * position, {"secret": CANARY, "bad": Unpicklable()}]
    with pytest.raises(InvalidEvent) as caught:
        grid.submit(function, events)
    assert CANARY not in texts_of(caught.value)
    assert rows_with(tmp_path, SOUGHT) == set()


def test_the_key_is_told_to_nobody(url: str) -> None:
    with connect(url) as grid:
        key = plane_of(grid).keys.signer().secret
        session = grid.submit(len, ["abc"])
        ended(session)
        told = [repr(grid), repr(plane_of(grid)), repr(gateway_of(grid).deployment), repr(session)]
        assert not [text for text in told if repr(key)[2:-1] in text or key.hex() in text]
    root = directory_of(url).root
    assert files_with(root, key) == {"key"}
    assert files_with(root, key.hex().encode()) == set()
    assert rows_with(root, key) | rows_with(root, key.hex().encode()) == set()


def test_corrupt_payloads_are_not_repeated(tmp_path: Path) -> None:
    """The error of what cannot be read says what it is, not what is in it."""
    plane = open_plane(Directory(tmp_path))
    grid = still_grid(plane)
    session = grid.submit(len, [CANARY])
    (block,) = plane.store.blocks(session.id, 0, 1)
    assert block.payload.data is not None
    damage, data = "UPDATE blocks SET data = ?, size = size + 1", b"\0" + block.payload.data
    plane.store._database.write(lambda db: db.execute(damage, (data,)))  # type: ignore[attr-defined]
    work = take(plane, Hint(session.id, root_id(0)))
    assert work is not None
    assert work.corrupt
    assert CANARY not in work.corrupt
    session.cancel()
    with pytest.raises(GridError) as caught:
        grid.resubmit(session)
    assert CANARY not in texts_of(caught.value)


def test_commands_do_not_carry_secrets(url: str) -> None:
    """What anybody can see in the list of processes: how agents and workers were called."""
    proc = Path("/proc")
    if not proc.exists():
        pytest.skip("processes are looked up in /proc")
    with connect(url) as grid:
        ended(grid.submit(len, [CANARY]))
        key = plane_of(grid).keys.signer().secret
    seen = 0
    for path in proc.glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:
            continue
        if b"htcgrid_core" in command and str(directory_of(url).root).encode() in command:
            seen += 1
            assert SOUGHT not in command
            assert key not in command
    assert seen >= 1
