"""Starts one case under its supervisor, follows its report, and returns its outcome."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.case import Case, Note, Outcome

REPOSITORY = Path(__file__).parents[2]
TIMEOUT_S = 1_800.0
STOP_TIMEOUT_S = 30.0
TICK_S = 0.1
LOG_LINES = 15


def environment() -> dict[str, str]:
    """The present environment, with the repository importable and no engine talking to the outside."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HTCGRID_")}
    paths = [str(REPOSITORY), *filter(None, [inherited.get("PYTHONPATH")])]
    return inherited | {
        "PYTHONPATH": os.pathsep.join(paths),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # the one setting that keeps Ray on loopback, on Linux too
    }


def launch(case: Case, size: str, note: Note) -> Outcome:
    """Run the case to its end, or to its time limit."""
    with tempfile.TemporaryDirectory(prefix="bench-case-") as folder:
        report, log = Path(folder, "report"), Path(folder, "log")
        report.touch()
        command = [
            sys.executable,
            "-m",
            "tests.bench.supervise",
            "tests.bench.child",
            case.section,
            case.subject,
            size,
            str(report),
        ]
        with log.open("wb") as output:
            supervisor = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        in_time = follow(supervisor, report, note)
        end = last_line(report)
        if not in_time:
            end = {"status": "error", "detail": f"still at «{end.get('note')}» after {TIMEOUT_S:.0f} s"}
        elif "status" not in end:
            end = {"status": "error", "detail": f"died at «{end.get('note')}»"}
        if end["status"] == "error":
            end["detail"] += "\n" + "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
        return Outcome(case, end["status"], end.get("metrics", {}), end["detail"].strip())


def last_line(report: Path) -> dict[str, Any]:
    """The latest complete line of the report."""
    lines = [line for line in report.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return dict(json.loads(lines[-1])) if lines else {}


def follow(supervisor: subprocess.Popen[bytes], report: Path, note: Note) -> bool:
    """Show the notes until the supervisor ends; False when it had to be stopped for taking too long."""
    give_up = time.monotonic() + TIMEOUT_S
    try:
        while supervisor.poll() is None:
            if time.monotonic() > give_up:
                return False
            note(str(last_line(report).get("note", "ending")))
            time.sleep(TICK_S)
        return True
    finally:
        if supervisor.poll() is None:
            supervisor.terminate()
            supervisor.wait(STOP_TIMEOUT_S)
