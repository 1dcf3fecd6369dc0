"""`.map` of no-op tasks on each of Prefect's task runners, in one run, beside one another.

Each runner maps once to warm up (workers import Prefect) and then `--rounds` times; medians are printed. The time is
what the flow sees: from `map` to the last result. What Prefect's server still has to record then is not in it: the
server is started anew for each row, on the same database. Peers with processes map once.

A row that takes longer than `--timeout` is said to, and does not hold up the others.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from tests.bench.launch import LOG_LINES, REPOSITORY, STOP_TIMEOUT_S, environment
from tests.prefect.conftest import start_server, stop_server  # sets Prefect's home and API before it is imported

from tests.prefect.bench.report import Found, Report, Row  # isort: skip
from tests.prefect.bench.runners import OURS, PEERS, THREADS  # isort: skip

SESSION_TASKS = 100_000
MAP_TASKS = 200_000


def main() -> None:
    """Measure row by row; print each as it ends, then the table and what was aimed at."""
    parser = argparse.ArgumentParser(prog="python -m tests.prefect.bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", type=int, default=500, help="of each map (default: %(default)s)")
    parser.add_argument("--peer-tasks", type=int, help="of the map of a peer with processes (default: as many)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=400.0, help="seconds for each row (default: %(default)s)")
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="rows with one of these in their name")
    options = parser.parse_args()
    report = Report()
    for row in rows(options.tasks, options.peer_tasks or options.tasks, options.rounds):
        if any(word in row.name for word in options.only):
            report.add(row, measured(row.arguments, options.timeout))
    report.print()


def rows(tasks: int, peer_tasks: int, rounds: int) -> Iterator[Row]:
    """What is measured, in this order."""
    for name in (THREADS, *OURS):
        yield Row(name, tasks, ["map", name, str(tasks), str(rounds)])
    for name in PEERS:
        if name != THREADS:
            yield Row(name, peer_tasks, ["map", name, str(peer_tasks), "1"])
    yield Row("run_session", SESSION_TASKS, ["session", str(SESSION_TASKS)])
    yield Row("memory of a map", MAP_TASKS, ["memory", str(MAP_TASKS)])


def measured(arguments: list[str], timeout: float) -> Found:
    """What a measurement in a process of its own finds; a word of why not if it finds nothing."""
    server = start_server()
    try:
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as log:
            command = [sys.executable, "-m", "tests.bench.supervise", "tests.prefect.bench.child", *arguments]
            row = subprocess.Popen(command, cwd=REPOSITORY, env=environment(), stdout=output, stderr=log)
            try:
                row.wait(timeout)
            except subprocess.TimeoutExpired:
                return f"not within {timeout:g} s"
            finally:
                row.terminate()
                row.wait(STOP_TIMEOUT_S)
            output.seek(0)
            if found := output.read().splitlines():
                return list(json.loads(found[-1]))
            log.seek(0)
            print(*log.read().splitlines()[-LOG_LINES:], sep="\n", flush=True)
            return "failed"
    finally:
        stop_server(server)


if __name__ == "__main__":
    main()
