"""One Airflow and one grid for all tests with real processes: they cost a minute of start and a gigabyte."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from htcgrid_core import Grid, connect
from tests.airflow.system.kills import MATRIX, matrix_lines
from tests.airflow.system.server import REPOSITORY, free_port
from tests.airflow.system.stack import Stack, running
from tests.aws.emulators import Account
from tests.aws.grids import url_of
from tests.docs.pages import blocks
from tests.e2e.support import fresh_grid

README = REPOSITORY / "README.md"
AWS_ACCOUNT = "100000000001"
DAGS = (Path(__file__).with_name("dags"), REPOSITORY / "example_dags" / "airflow_dags")


@pytest.fixture(scope="session")
def grid_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A grid with enough slots for every session that the tests hold at once."""
    with fresh_grid(tmp_path_factory.mktemp("grid"), slots=24, idle=600) as url:
        yield url


@pytest.fixture(scope="session")
def named_url(grid_url: str) -> str:
    """Its URL as no connection names it, but the operator of the README's DAG does."""
    return f"{grid_url}&agents=1"


@pytest.fixture(scope="session")
def grid(grid_url: str) -> Iterator[Grid]:
    """A connection to it."""
    with connect(grid_url) as connected:
        yield connected


@pytest.fixture(scope="session")
def signs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where tasks and tests leave each other signs."""
    return tmp_path_factory.mktemp("signs")


@pytest.fixture(scope="session")
def aws_port() -> int:
    """Where a test may put an emulator of AWS, for Airflow to find."""
    return free_port()


@pytest.fixture(scope="session")
def aws_grid_url(aws_port: int) -> str:
    """The URL of a grid on it."""
    return url_of(Account(f"http://127.0.0.1:{aws_port}"))


@pytest.fixture(scope="session")
def stack(
    tmp_path_factory: pytest.TempPathFactory, grid_url: str, named_url: str, aws_grid_url: str, signs: Path
) -> Iterator[Stack]:
    """Airflow, healthy, with the DAGs of these tests and connections to the grids."""
    extra = {
        "AIRFLOW_CONN_HTCGRID_DEFAULT": json.dumps({"conn_type": "htcgrid", "extra": {"grid": grid_url}}),
        "AIRFLOW_CONN_HTCGRID_ON_AWS": json.dumps(
            {"conn_type": "htcgrid", "extra": {"grid": aws_grid_url, "aws_conn_id": "aws_emulated"}}
        ),
        "AIRFLOW_CONN_AWS_EMULATED": json.dumps({"conn_type": "aws", "login": AWS_ACCOUNT, "password": "emulated"}),
        "AIRFLOW__HTCGRID__POLL_INTERVAL": "0.5",
        "AIRFLOW__HTCGRID__LOG_INTERVAL": "2",
        "AIRFLOW__HTCGRID__DEFER_AFTER": "0",
        "SYSTEM_TEST_FOLDER": str(signs),
        "CHAINED_SESSIONS_OUT": str(signs / "chained"),
    }
    dags = tmp_path_factory.mktemp("dags")
    for folder in DAGS:
        (dags / folder.name).symlink_to(folder)
    (shown,) = (block for block in blocks(README.read_text()) if block.note == "file: book_dag.py")
    (dags / "book_dag.py").write_text(shown.code.replace("local://", named_url))
    with running(tmp_path_factory.mktemp("airflow"), dags, extra) as started:
        print(f"Airflow on {started.database}")
        yield started


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The matrix of what was killed and what came of it."""
    if MATRIX:
        terminalreporter.section("kill matrix")
        for line in matrix_lines(MATRIX):
            terminalreporter.write_line(line)
