"""S10 on AWS: agents whose wall clocks are ten minutes wrong change when things happen, never what comes of them."""

from __future__ import annotations

import pytest

from htcgrid_core import Grid
from htcgrid_core.testing.contracts.facts import assert_counters_exact
from tests.aws.grids import CloudUnderTest
from tests.e2e.support import ended, eventually
from tests.planes import plane_of

TEN_MINUTES = 600.0
TASKS = 240


@pytest.mark.slow
def test_agents_ten_minutes_ahead_and_behind(aws_cloud: CloudUnderTest, aws_grid: Grid) -> None:
    """Whoever is ahead takes what others hold, and leases of who is behind have lapsed before they began."""
    skewed = [aws_cloud.start_skewed_agent(seconds) for seconds in (TEN_MINUTES, -TEN_MINUTES)]
    aws_cloud.start_agent()
    eventually(lambda: len(aws_cloud.logs().splitlines()) >= 3, "all are there")
    events = [{"seconds": 0.05, "n": n} for n in range(TASKS)]
    sessions = [aws_grid.submit("tests.e2e.handlers.sleep", events, bundle_size=size) for size in (1, 40)]
    eventually(lambda: sessions[0].progress().completed > TASKS / 4, "it goes on")
    skewed[1].kill()  # with what it holds
    for session in sessions:
        found = ended(session)
        assert found.completed + found.failed == TASKS
        tasks = list(session.tasks())
        assert sorted(task.index for task in tasks) == list(range(TASKS))
        assert {task.error.type for task in tasks if task.error} <= {"AgentLost"}, "of too many stolen leases"
        assert found.failed <= TASKS / 20
        assert_counters_exact(plane_of(aws_grid).store, session.id)
    assert len({task.agent for session in sessions for task in session.tasks()}) == 3, "all took part"
    assert "Traceback" not in aws_cloud.logs()
