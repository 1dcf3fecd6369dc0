"""Each script of example_dags/ runs on the embedded grid as its user would run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "example_dags"
PNG = b"\x89PNG\r\n\x1a\n"


def run(script: str, *arguments: str, url: str, out: Path) -> str:
    """Run a script in an empty folder; return what it printed."""
    out.mkdir()
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), "--url", url, "--out", str(out), *arguments],
        cwd=out,
        env={**os.environ, "COLUMNS": "160", "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_american_puts(grid_url: str, tmp_path: Path) -> None:
    """All twenty rows of the paper's table agree with ours, within the standard errors of the paths asked for."""
    text = run("american_puts_script.py", "--paths", "50000", url=grid_url, out=tmp_path / "out")
    assert "20 of 20 rows agree" in text
    assert (tmp_path / "out" / "american_puts.png").read_bytes().startswith(PNG)


def test_value_at_risk(grid_url: str, tmp_path: Path) -> None:
    """Every model forecasts every day asked for, and Kupiec's test judges it."""
    text = run("value_at_risk_script.py", "--days", "250", url=grid_url, out=tmp_path / "out")
    for model in ("historical", "normal", "GARCH"):
        assert model.lower() in text.lower()
    assert "Kupiec" in text
    assert (tmp_path / "out" / "value_at_risk.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize("script", ["american_puts_script.py", "value_at_risk_script.py"])
def test_help_says_how(script: str) -> None:
    done = subprocess.run([sys.executable, str(EXAMPLES / script), "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "--url" in done.stdout
