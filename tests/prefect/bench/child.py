"""One measurement, in a process of its own, on a grid of its own: prints a line of JSON.

python -m tests.prefect.bench.child map NAME TASKS ROUNDS | session TASKS | memory TASKS
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from pathlib import Path

from tests.e2e.support import fresh_grid
from tests.prefect.bench import large
from tests.prefect.bench.runners import PROCESSES, made, mapping


def measured(url: str, what: str, *given: str) -> list[float]:
    """What the line says."""
    if what == "map":
        name, tasks, rounds = given
        return mapping.with_options(task_runner=made(name, url))(int(tasks), int(rounds))
    if what == "session":
        return [large.session(url, int(given[0]))]
    return list(large.mapped(url, int(given[0])))


def main(*arguments: str) -> None:
    """Measure and print."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, fresh_grid(Path(folder) / "grid", slots=PROCESSES, idle=60) as url:
        print(json.dumps(measured(url, *arguments)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
    os._exit(0)  # a peer's leftover threads must not hold the row up: its supervisor ends its processes
