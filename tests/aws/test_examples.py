"""The examples run on AWS as they are, with only the URL changed: on both emulators."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.aws.emulators import REPOSITORY, Account
from tests.aws.grids import CloudUnderTest, cloud
from tests.e2e.test_examples import PNG, run

EXAMPLES = REPOSITORY / "example_dags"
SCRIPTS = [
    ("american_puts_script.py", ["--paths", "50000"], "20 of 20 rows agree", "american_puts.png"),
    pytest.param("value_at_risk_script.py", ["--days", "100"], "Kupiec", "value_at_risk.png", marks=pytest.mark.slow),
]


@pytest.fixture
def moto_cloud(moto_account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudUnderTest]:
    """A grid on moto, for one agent and one client: it is not safe under concurrency."""
    with cloud(moto_account, tmp_path, monkeypatch) as found:
        yield found


def check_script(grid: CloudUnderTest, out: Path, script: str, arguments: list[str], said: str, picture: str) -> None:
    path = f"{REPOSITORY}:{EXAMPLES}"  # where the agent finds the handlers: in an image, /app
    grid.start_agent(PYTHONPATH=path)
    assert said in run(script, *arguments, url=grid.url, out=out)
    assert (out / picture).read_bytes().startswith(PNG)


def check_command_line(grid: CloudUnderTest, out: Path) -> None:
    grid.start_agent(PYTHONPATH=f"{REPOSITORY}:{EXAMPLES}")
    programs = f"{REPOSITORY / '.venv' / 'bin'}:{os.environ['PATH']}"
    environment = {**grid.environment, "HTCGRID_URL": grid.url, "PATHS": "50000", "MPLBACKEND": "Agg", "PATH": programs}
    script = str(EXAMPLES / "american_puts_cli.sh")
    done = subprocess.run(["bash", script, str(out)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 of 20 rows agree" in done.stdout
    assert (out / "american_puts.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize(("script", "arguments", "said", "picture"), SCRIPTS)
def test_a_script(
    aws_cloud: CloudUnderTest, tmp_path: Path, script: str, arguments: list[str], said: str, picture: str
) -> None:
    check_script(aws_cloud, tmp_path / "out", script, arguments, said, picture)


@pytest.mark.slow
def test_the_command_line(aws_cloud: CloudUnderTest, tmp_path: Path) -> None:
    check_command_line(aws_cloud, tmp_path / "out")


@pytest.mark.slow
class TestOnMoto:
    @pytest.mark.parametrize(("script", "arguments", "said", "picture"), SCRIPTS)
    def test_a_script(
        self, moto_cloud: CloudUnderTest, tmp_path: Path, script: str, arguments: list[str], said: str, picture: str
    ) -> None:
        check_script(moto_cloud, tmp_path / "out", script, arguments, said, picture)

    def test_the_command_line(self, moto_cloud: CloudUnderTest, tmp_path: Path) -> None:
        check_command_line(moto_cloud, tmp_path / "out")
