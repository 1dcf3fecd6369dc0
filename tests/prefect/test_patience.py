"""A flow waits for a grid that cannot be read for a while, however it waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prefect import flow, task

from htcgrid_core import CredentialsExpired, GridUnavailable, SessionState, connect
from htcgrid_core.domain import patience
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_prefect import HTCGridTaskRunner, arun_session, run_session
from tests.prefect.handlers import square

FAILURES = 12  # reads, which is more than any of them is repeated by itself


@pytest.fixture(autouse=True, params=[GridUnavailable, CredentialsExpired])
def trouble(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """What is raised by the next reads of sessions and of pages."""
    left = [request.param("for now")] * FAILURES
    monkeypatch.setattr(patience, "FIRST_PAUSE_SECONDS", 0.01)
    for name in ("session", "pages"):
        monkeypatch.setattr(InProcessGateway, name, _failing(getattr(InProcessGateway, name), left))
    return left


def _failing(real: Any, left: list[Exception]) -> Any:
    def read(self: InProcessGateway, *args: Any, **kwargs: Any) -> Any:
        if left:
            raise left.pop()
        return real(self, *args, **kwargs)

    return read


def test_run_session(shared_grid_url: str, trouble: list[Exception]) -> None:
    @flow
    def squares() -> list[int]:
        return list(run_session(square, range(10), grid=shared_grid_url))

    assert squares() == [n * n for n in range(10)]
    assert trouble == []


def test_arun_session(shared_grid_url: str, trouble: list[Exception]) -> None:
    @flow
    async def squares() -> list[int]:
        return list(await arun_session(square, range(10), grid=shared_grid_url))

    assert asyncio.run(squares()) == [n * n for n in range(10)]
    assert trouble == []


def test_the_runner(shared_grid_url: str, trouble: list[Exception]) -> None:
    @task
    def double(number: int) -> int:
        return 2 * number

    @flow(task_runner=HTCGridTaskRunner(shared_grid_url))
    def doubles() -> list[int]:
        return double.map(range(4)).result()

    assert doubles() == [0, 2, 4, 6]
    assert trouble == []
    with connect(shared_grid_url) as grid:
        assert grid.sessions(limit=1)[0].progress().state is SessionState.COMPLETED
