"""Sweeping: what nobody has used for a month goes, and never what a session or deployment refers to."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from htcgrid_core.client.grid import Grid
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.function import FunctionVersion
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.functions import remove
from htcgrid_core.services.sweep import sweep
from tests.manual_agent import submit
from tests.planes import ManualClock, memory_plane, spec, still_grid

DAY = 86400.0


@pytest.fixture
def plane(tmp_path: Path) -> Plane:
    return memory_plane(tmp_path, clock=ManualClock(wall=time.time()))  # whose clock the files have


@pytest.fixture
def grid(plane: Plane) -> Grid:
    return still_grid(plane)


def aged(plane: Plane, days: float) -> None:
    """All blobs were last used so many days before now."""
    at = plane.clock.now() - days * DAY
    for folder, _, names in os.walk(plane.blobs.path("sessions").parent):
        for name in names:
            os.utime(os.path.join(folder, name), (at, at))


def deployed(grid: Grid, folder: Path, text: str) -> FunctionVersion:
    folder.mkdir(exist_ok=True)
    (folder / "app.py").write_text(f"def handler(event, context):\n    return {text!r}\n")
    return grid.deploy("app", folder, handler="app.handler")


def test_a_shared_input_goes_after_a_month_without_use(plane: Plane, grid: Grid) -> None:
    old, new = grid.put({"curve": 1}), grid.put({"curve": 2})
    aged(plane, 31)
    assert plane.blobs.touch(f"shared/{new.digest}")
    assert sweep(plane).deleted == [f"shared/{old.digest}"]
    assert sweep(plane).deleted == []


def test_a_submission_is_a_use(plane: Plane, grid: Grid) -> None:
    """And so is putting it again."""
    submitted, put, other = (grid.put([number]) for number in range(3))
    aged(plane, 31)
    grid.submit(_identity, [submitted], codec="pickle")
    grid.put([1])
    assert sweep(plane).deleted == [f"shared/{other.digest}"]
    assert plane.blobs.exists(f"shared/{put.digest}")


def _identity(event: object) -> object:
    return event


def test_what_is_gone_is_told_at_submit(plane: Plane, grid: Grid) -> None:
    """Before anything is written, and not when the tasks run."""
    value = grid.put({"curve": 1})
    aged(plane, 31)
    sweep(plane)
    with pytest.raises(InvalidInput, match="put it again"):
        grid.submit(_identity, [{"market": value}])
    assert plane.store.sessions(plane.clock.now()) == []
    assert grid.put({"curve": 1}) == value
    grid.submit(_identity, [{"market": value}])


def test_a_deployed_package_stays_however_old(plane: Plane, grid: Grid, tmp_path: Path) -> None:
    one, two = deployed(grid, tmp_path / "app", "one"), deployed(grid, tmp_path / "app", "two")
    aged(plane, 1000)
    assert sweep(plane).deleted == []
    remove(plane, "app", 1)
    assert sweep(plane).deleted == [one.blob]
    assert plane.blobs.exists(two.blob)


def test_a_removed_package_stays_while_it_is_used(plane: Plane, grid: Grid, tmp_path: Path) -> None:
    version = deployed(grid, tmp_path / "app", "one")
    remove(plane, "app")
    aged(plane, 29)
    assert sweep(plane).deleted == []
    aged(plane, 31)
    assert sweep(plane).deleted == [version.blob]


def test_packages_stay_if_it_is_not_known_which_are_deployed(plane: Plane, grid: Grid, tmp_path: Path) -> None:
    version = deployed(grid, tmp_path / "app", "one")
    plane.blobs.path("registry/app/00000001").write_bytes(b"damaged")
    aged(plane, 31)
    done = sweep(plane)
    assert done.deleted == []
    assert "registry" in done.problem or "function" in done.problem
    assert plane.blobs.exists(version.blob)


def test_blobs_of_sessions_that_never_were(plane: Plane) -> None:
    """A submitter ended between its blobs and its row, or a reconciler between a row and its blobs."""
    submit(plane, "s-there", spec(), ["x" * 1000], idempotent=False)
    for session_id in ("s-there", "s-gone"):
        plane.blobs.put(f"sessions/{session_id}/events/0", b"events")
    aged(plane, 31)
    assert sweep(plane).deleted == ["sessions/s-gone/events/0"]


def test_a_session_stays_for_as_long_as_was_asked(plane: Plane, grid: Grid) -> None:
    session = grid.submit(_identity, [], retention=2 * DAY)
    record = plane.store.session(session.id, plane.clock.now())
    assert record.expires_at == plane.clock.now() + 2 * DAY
    assert isinstance(plane.clock, ManualClock)
    plane.clock.pass_(2 * DAY + 1)
    assert plane.store.sessions(plane.clock.now()) == []
    with pytest.raises(InvalidInput, match="retention"):
        grid.submit(_identity, [], retention=limits.MAX_RETENTION_SECONDS + 1)
