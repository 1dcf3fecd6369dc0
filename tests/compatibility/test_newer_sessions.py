"""A session that a newer release submitted for its own agents, as this release's agents and clients meet it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from htcgrid_core import Grid, IncompatibleGrid, WaitTimeout, connect
from htcgrid_core.domain.agent_version import AGENT_VERSION
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.gateway.bell_waiter import WAKE_EVERY_SECONDS
from htcgrid_core.local.agent_processes import running_agents
from tests.e2e.support import directory_of, ended, eventually, fresh_grid
from tests.manual_agent import submit
from tests.planes import plane_of

NEWER = "s-newer"
DOUBLE = "tests.e2e.handlers.double"


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[Grid]:
    """One whose agents would stay for an hour."""
    with fresh_grid(tmp_path / "grid", idle=3600) as url, connect(url) as found:
        yield found


@pytest.fixture
def newer(grid: Grid) -> str:
    """The id of such a session."""
    spec = SessionSpec(
        function=FunctionSpec(name=DOUBLE), labels={"desk": "rates"}, min_agent_version=AGENT_VERSION + 1
    )
    return submit(plane_of(grid), NEWER, spec, range(8), idempotent=False).session_id


def test_agents_leave_it_and_make_room_for_newer_ones(grid: Grid, newer: str) -> None:
    """What else there is they do first; then they go, though a session is live, and nothing was begun of it."""
    usual = grid.submit(DOUBLE, range(8))
    assert ended(usual).state == "COMPLETED"
    eventually(lambda: not running_agents(directory_of(grid.url)), "they leave")
    row = grid.session(newer).progress()
    assert (row.state, row.pending) == ("RUNNING", 8)
    bundles = plane_of(grid).store.open_bundles(newer, "", 100)
    assert bundles
    assert all((found.lease, found.bundle.crashes) == (None, 0) for found in bundles)


def test_clients_see_how_far_it_is_and_can_end_it(grid: Grid, newer: str) -> None:
    """What they would have to read in its own words they do not."""
    session = grid.session(newer)
    told = f"{newer}: .*version {AGENT_VERSION + 1} of htcgrid's agents.*use"
    for read in (lambda: session.spec, lambda: list(session.results())):
        with pytest.raises(IncompatibleGrid, match=told):
            read()
    assert [found.id for found in grid.sessions(labels={"desk": "rates"})] == [newer]
    assert session.cancel("no agent will come").state == "CANCELLING"
    assert ended(session).state == "CANCELLED"
    with pytest.raises(IncompatibleGrid, match=told):
        grid.resubmit(session)


def test_waiting_for_it_starts_no_agents_that_would_leave_again(grid: Grid, newer: str) -> None:
    """Until its end is to be written: its own timeout is that, if no newer agent comes."""
    with pytest.raises(WaitTimeout):
        grid.session(newer).wait(timeout=WAKE_EVERY_SECONDS + 1.0)
    assert not list(directory_of(grid.url).agents.iterdir())


def test_its_own_timeout_is_its_end(grid: Grid) -> None:
    spec = SessionSpec(function=FunctionSpec(name=DOUBLE), min_agent_version=AGENT_VERSION + 1, timeout_seconds=0.1)
    submit(plane_of(grid), NEWER, spec, range(8), idempotent=False)
    now = ended(grid.session(NEWER))
    assert (now.state, now.cancelled) == ("FAILED", 8)
    assert "deadline" in now.reason
