"""``python -m tests.bench.over_http``: the client over HTTP beside the same grid without a server, in the same run.

Both take turns, so that whatever else the machine does meets both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from htcgrid_core import Grid, connect
from tests.e2e.support import fresh_grid
from tests.served import serving

FUNCTION = "tests.e2e.handlers.double"
TASKS = 10_000
MOST_MS = 3.0  # that a session of one task takes longer
LEAST_SHARE = 0.7  # of the rate


def one_task(grid: Grid) -> float:
    """Milliseconds from submit to the result of a session of one task."""
    start = time.perf_counter()
    assert list(grid.submit(FUNCTION, [1]).results()) == [2]
    return 1000 * (time.perf_counter() - start)


def many_tasks(grid: Grid) -> float:
    """Tasks a second of one session, from submit to the last result."""
    start = time.perf_counter()
    count = sum(1 for _ in grid.submit(FUNCTION, range(TASKS)).results())
    assert count == TASKS
    return TASKS / (time.perf_counter() - start)


def measured(rounds: int, sessions: int) -> dict[str, dict[str, list[float]]]:
    """Both measures of both ways."""
    found: dict[str, dict[str, list[float]]] = {way: {"one": [], "many": []} for way in ("local", "http")}
    with (
        tempfile.TemporaryDirectory(prefix="bench-http-") as folder,
        fresh_grid(Path(folder) / "grid") as url,
        serving(url, Path(folder) / "keys.json") as server,
        connect(url) as here,
        connect(server.url, api_token=server.token) as there,
    ):
        ways: Mapping[str, Grid] = {"local": here, "http": there}
        for grid in ways.values():
            many_tasks(grid)
            one_task(grid)
        for _ in range(sessions):
            for way, grid in ways.items():
                found[way]["one"].append(one_task(grid))
        for _ in range(rounds):
            for way, grid in ways.items():
                found[way]["many"].append(many_tasks(grid))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=200, help="sessions of one task, each way")
    parser.add_argument("--rounds", type=int, default=7, help=f"sessions of {TASKS:,} tasks, each way")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured to this file")
    options = parser.parse_args()
    found = measured(options.rounds, options.sessions)
    one = {way: statistics.median(found[way]["one"]) for way in found}
    many = {way: statistics.median(found[way]["many"]) for way in found}
    table = Table("", "local://", "http://", "", "aim")
    table.add_row(
        "a session of one task, p50, ms",
        *(f"{one[way]:.1f}" for way in found),
        f"{one['http'] - one['local']:+.1f} ms",
        f"at most +{MOST_MS:g} ms",
    )
    table.add_row(
        f"{TASKS:,} tasks of nothing, tasks/s",
        *(f"{many[way]:,.0f}" for way in found),
        f"{many['http'] / many['local']:.2f} times",
        f"at least {LEAST_SHARE:g} times",
    )
    Console(width=110).print(table)
    if options.json:
        options.json.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
