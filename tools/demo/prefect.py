"""A real run of the flow ``american_puts``, by Prefect, in this checkout's ``out/``; about a minute.

Prefect starts a server of its own for as long as the flow runs.

Usage::

    .venv-prefect/bin/python -m tools.demo.prefect
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from pathlib import Path

from tools.demo.show import run

REPOSITORY = Path(__file__).parents[2]
OUT = REPOSITORY / "out"
HOME = OUT / "prefect"
FLOW = REPOSITORY / "example_dags" / "prefect_flows" / "american_puts_flow.py"
SERVER_START_SECONDS = 120


def main() -> int:
    """Run the flow, show its session and its report; return the exit code."""
    HOME.mkdir(parents=True, exist_ok=True)
    url = f"local://{OUT / 'grid'}"
    log = HOME / "run.log"
    title = f"Prefect {version('prefect')} runs the flow american_puts: map on the grid, report"
    command = [sys.executable, str(FLOW), "--url", url, "--out", str(OUT / "american-puts-prefect")]
    code = run(title, command, environment(), log, url, "american-puts/price")
    if code:
        return code
    print(_report(log.read_text(errors="replace")))
    return 0


def environment() -> dict[str, str]:
    """A Prefect of its own: nothing of the user's is read or written, and no server is looked for."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return {
        **kept,
        "PREFECT_HOME": str(HOME),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": str(SERVER_START_SECONDS),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "MPLBACKEND": "Agg",
        "COLUMNS": "120",
        "PYTHONPATH": str(REPOSITORY),
    }


def _report(log: str) -> str:
    """What the flow printed, from the title of its table on."""
    lines = log.splitlines()
    start = next((number for number, line in enumerate(lines) if line.strip().startswith("American puts:")), 0)
    return "\n".join(lines[start:])


if __name__ == "__main__":
    sys.exit(main())
