"""A directory that the release before left behind: it is migrated, read, and its work goes on."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from htcgrid_core import Grid, connect
from htcgrid_core.local.directory import Directory
from tests.compatibility.left_behind import (
    BOOK,
    HERE,
    RUNNING_TASKS,
    LeftBehind,
    assert_all_can_be_read,
    unpack_local,
)
from tests.compatibility.old_book import MENDED, OPEN
from tests.e2e.support import end_agents, ended
from tests.planes import plane_of


@pytest.fixture
def book(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module of the handlers, by the name by which sessions know it."""
    monkeypatch.syspath_prepend(HERE)
    yield importlib.import_module(BOOK)
    del sys.modules[BOOK]


@pytest.fixture
def left(tmp_path: Path, book: ModuleType) -> Iterator[LeftBehind]:
    found = unpack_local(tmp_path)
    yield found
    end_agents(Directory(tmp_path / "grid"))


@pytest.fixture
def grid(left: LeftBehind) -> Iterator[Grid]:
    with connect(left.url) as found:
        yield found


def test_all_of_it_can_be_read(grid: Grid, left: LeftBehind, book: ModuleType) -> None:
    assert_all_can_be_read(grid, left, book.quote)


def test_its_work_goes_on(grid: Grid, left: LeftBehind) -> None:
    """What was leased and what was ready runs, with its shared inputs; what failed runs again; tokens are known."""
    (left.folder / OPEN).touch()
    (left.folder / MENDED).touch()
    running = grid.session(left.sessions["running"])
    assert ended(running).state == "COMPLETED"
    discount = [1.0, 0.97, 0.94]
    assert list(running.results()) == [[n, discount[n % 3], [0.04, "kappa"]] for n in range(RUNNING_TASKS)]
    assert running.progress().completed == RUNNING_TASKS

    again = grid.resubmit(left.sessions["failed"])
    assert ended(again).state == "COMPLETED"
    assert list(again.results()) == list(range(6))

    events = [{"notional": 1000 * n, "rate": 0.5} for n in range(5)]
    options = {"name": "book", "labels": {"desk": "rates"}, "priority": "high", "retention": 60 * 86400.0}
    same = grid.submit("old_book.price", events, token="completed", **options)  # type: ignore[arg-type]  # by name
    assert same.id == left.sessions["completed"]


def test_its_shared_inputs_are_known(grid: Grid, left: LeftBehind) -> None:
    """Stored by their content: the same again is the same."""
    blobs = set(plane_of(grid).blobs.keys("shared/"))
    assert blobs
    grid.put({"discount": [1.0, 0.97, 0.94]})
    assert set(plane_of(grid).blobs.keys("shared/")) == blobs


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="it was deployed for Python 3.11, and runs there only")
def test_its_functions_run(grid: Grid, left: LeftBehind) -> None:
    """The version that was deployed last, and the one before."""
    (left.folder / OPEN).touch()
    for name, expected in (("scale", [6, "2"]), ("scale:1", [4, "1"])):
        session = grid.submit(name, [2])
        ended(session)
        assert list(session.results()) == [expected]
