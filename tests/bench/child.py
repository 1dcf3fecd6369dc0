"""Runs one case in this process and writes what it finds, a line of JSON each, to a file."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from pathlib import Path

from tests.bench import sizes
from tests.bench.case import Status
from tests.bench.cases import SECTIONS
from tests.bench.engines.base import UnavailableError
from tests.bench.events import WrongResultError


class Report:
    """The file through which this process talks to the one that shows the progress."""

    def __init__(self, path: Path) -> None:
        """Append to ``path``."""
        self.path = path

    def _write(self, line: dict[str, object]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def note(self, text: str) -> None:
        """Say what is going on."""
        self._write({"note": text})

    def end(self, status: Status, metrics: dict[str, float] | None = None, detail: str = "") -> None:
        """Say how it ended."""
        self._write({"status": status, "metrics": metrics or {}, "detail": detail})


def main(section: str, subject: str, size: str, path: str) -> None:
    """Run the case; whatever happens becomes a line of the report."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the supervisor ignores it, this process must not
    report = Report(Path(path))
    chosen_sizes = sizes.QUICK if size == "quick" else sizes.FULL
    try:
        metrics = SECTIONS[section].run(subject, chosen_sizes, report.note)
    except UnavailableError as error:
        report.end("skipped", detail=str(error))
    except WrongResultError as error:
        report.end("wrong", detail=str(error))
    except Exception as error:
        traceback.print_exc()
        report.end("error", detail=f"{type(error).__name__}: {error}")
    else:
        report.end("ok", metrics)


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # an engine's leftover threads must not hold the case up: its supervisor ends its processes
