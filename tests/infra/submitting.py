"""``python -m tests.infra.submitting URL``: what those do who submit, for the recorder."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from htcgrid_core import Grid, connect
from htcgrid_core.domain.session import Priority
from tests.e2e.support import ended

POOLS = ("default", "big")
PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")


def main(url: str) -> None:
    """Every way to submit, to look, and to end."""
    with connect(url) as grid:
        _everywhere(grid)
        _large(grid)
        _functions(grid)
        _ends(grid)


def _everywhere(grid: Grid) -> None:
    sessions = [
        grid.submit("tests.e2e.handlers.double", range(10), pool=pool, priority=priority, bundle_size=2)
        for pool in POOLS
        for priority in PRIORITIES
    ]
    for session in sessions:
        assert ended(session).completed == 10
        assert list(session.results()) == [2 * number for number in range(10)]
    grid.ended(since=0.0).page()
    found = list(grid.sessions())
    assert len(found) >= len(sessions)


def _large(grid: Grid) -> None:
    """Events and results that are objects, many bundles, and a shared input."""
    text = "x".join(str(number) for number in range(20_000))
    session = grid.submit("tests.e2e.handlers.echo", [f"{number}{text}" for number in range(8)], bundle_size=2)
    assert ended(session).completed == 8
    assert sum(map(len, session.results())) > 8 * len(text)
    many = grid.submit("tests.e2e.handlers.double", range(200), bundle_size=2)
    assert ended(many).completed == 200
    market = grid.put(list(range(50_000)))
    assert list(grid.submit("tests.e2e.handlers.size_of", [[market]] * 4).results()) == [[50_000, "list"]] * 4
    assert list(grid.submit(lambda event: event + 1, range(4)).results()) == [1, 2, 3, 4]


def _functions(grid: Grid) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "app.py").write_text("def handler(event, context):\n    return event * 3\n")
        grid.deploy("pricing", Path(folder), handler="app.handler")
    assert list(grid.submit("pricing", range(4)).results()) == [0, 3, 6, 9]


def _ends(grid: Grid) -> None:
    session = grid.submit("tests.e2e.handlers.sleep", [{"seconds": 60}] * 4)
    session.cancel("enough")
    ended(session)
    failing = grid.submit("tests.e2e.handlers.fail_odd", range(4), max_failures=4)
    ended(failing)
    assert len(list(failing.tasks("FAILED"))) == 2
    grid.resubmit(failing).cancel()
    grid.functions()
    grid.measure()


if __name__ == "__main__":
    main(sys.argv[1])
