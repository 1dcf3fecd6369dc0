"""What is wrong is said in the task's log, by Airflow's own processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from htcgrid_core import Grid, connect
from tests.airflow.system.conftest import AWS_ACCOUNT
from tests.airflow.system.kills import Held
from tests.airflow.system.rest import eventually
from tests.airflow.system.severable_proxy import Line
from tests.airflow.system.stack import Stack
from tests.aws.emulators import Account, ministack
from tests.aws.grids import cloud

pytestmark = pytest.mark.timeout(600)
DAG, RUN = "troubles", "r1"


@pytest.fixture(scope="module")
def expired(grid: Grid) -> str:
    """A session whose time is over."""
    session = grid.submit("tests.airflow.system.handlers.no_op", [1], retention=0.1)
    eventually(lambda: not grid.progress([session.id]), "the session has expired")
    return session.id


@pytest.fixture(scope="module")
def troubles(stack: Stack, signs: Path, expired: str) -> Stack:
    """The run of all of them, at its end."""
    (signs / "malformed.jsonl").write_text('1\n2\n{"trade": \n')
    stack.api.trigger(DAG, RUN, {"expired": expired})
    assert stack.api.run_ended(DAG, RUN) == "failed"
    return stack


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("no_connection", "UnknownGrid: there is no Airflow connection 'nowhere': create one of type htcgrid"),
        ("no_grid", "GridUnavailable: "),
        ("no_function", "FunctionNotFound: nowhere.handler: there is no module 'nowhere'"),
        ("malformed", "malformed.jsonl, line 3: not a JSON value"),
        ("expired_for_sensor", "SessionNotFound: session '{expired}' does not exist"),
        ("expired_for_results", "SessionNotFound: session '{expired}' does not exist"),
    ],
)
def test_a_step_that_cannot_succeed(troubles: Stack, expired: str, task: str, message: str) -> None:
    assert message.format(expired=expired) in troubles.api.log(DAG, RUN, task)


@pytest.fixture
def line(aws_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """Airflow's line to a grid on an emulator of AWS, whose agent has a better one."""
    with ministack() as url:
        account = Account(url, AWS_ACCOUNT)
        with cloud(account, tmp_path, monkeypatch) as grid:
            grid.start_agent()
            line = Line(aws_port, urlsplit(url).port or 80)
            line.mend()
            yield line
            line.cut()


@pytest.mark.slow
def test_the_grid_is_away_in_the_middle_of_a_wait(stack: Stack, signs: Path, line: Line, aws_grid_url: str) -> None:
    """In a worker and in the triggerer: both say so, and go on when it is back."""
    with connect(aws_grid_url) as grid:
        waiting = [Held(stack, grid, signs, dag_id).start() for dag_id in ("grid_away_blocking", "grid_away_deferred")]
        for held, state in zip(waiting, ("running", "deferred"), strict=True):
            held.one_lives()
            held.in_state(state)
        line.cut()
        for held in waiting:
            says_so(held)
        line.mend()
        for held in waiting:
            held.succeeds()
            held.ended("COMPLETED")


def says_so(held: Held) -> None:
    """Wait until the step's log does."""
    eventually(lambda: "The grid is away" in held.log(), held.log)
