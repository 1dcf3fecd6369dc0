"""The examples run on AWS as they are, with only the URL changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.aws.emulators import REPOSITORY
from tests.aws.grids import CloudUnderTest
from tests.e2e.test_examples import run


@pytest.mark.parametrize(
    ("script", "arguments", "said"),
    [
        ("american_puts_script.py", ["--paths", "50000"], "20 of 20 rows agree"),
        ("value_at_risk_script.py", ["--days", "100"], "Kupiec"),
    ],
)
def test_an_example(aws_cloud: CloudUnderTest, tmp_path: Path, script: str, arguments: list[str], said: str) -> None:
    path = f"{REPOSITORY}:{REPOSITORY / 'example_dags'}"  # where the agent finds the handlers: in an image, /app
    aws_cloud.start_agent(PYTHONPATH=path)
    assert said in run(script, *arguments, url=aws_cloud.url, out=tmp_path / "out")
