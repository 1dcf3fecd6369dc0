"""``python -m tests.infra.submitting URL``: what those do who submit, for the recorder."""

from __future__ import annotations

import hashlib
import sys
import tempfile
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

from htcgrid_core import Grid, StepFunctionsTask, connect
from htcgrid_core.client.handlers import reference
from htcgrid_core.client.session import Session
from htcgrid_core.domain.notification import MIN_HEARTBEAT_SECONDS, NotificationState
from htcgrid_core.domain.session import Priority, SessionSpec
from htcgrid_core.gateway.opening import open_served
from htcgrid_core.services.asked import Asked
from htcgrid_core.services.direct_parts import DirectPart
from tests.e2e.support import ended, eventually

POOLS = ("default", "big")
DESTINATIONS = ("topic", "bus", "queue")
BEAT_SECONDS = MIN_HEARTBEAT_SECONDS
PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")


def main(url: str) -> None:
    """Every way to submit, to look, and to end."""
    with connect(url) as grid:
        waited_for = grid.submit(
            "tests.e2e.handlers.sleep",
            [{"seconds": BEAT_SECONDS + 4}],
            notify=StepFunctionsTask("while it runs", BEAT_SECONDS),
        )
        _everywhere(grid)
        _large(grid)
        _parts(grid)
        _functions(grid)
        _ends(grid)
        _told(grid)
        assert ended(waited_for).completed == 1


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
    assert list(grid.submit("tests.e2e.handlers.echo", ["y" * (20 << 20)]).results()) == ["y" * (20 << 20)]
    many = grid.submit("tests.e2e.handlers.double", range(200), bundle_size=2)
    assert ended(many).completed == 200
    market = grid.put(list(range(50_000)))
    assert list(grid.submit("tests.e2e.handlers.size_of", [[market]] * 4).results()) == [[50_000, "list"]] * 4
    assert list(grid.submit(lambda event: event + 1, range(4)).results()) == [1, 2, 3, 4]


def _parts(grid: Grid) -> None:
    """As a server that gives a client a URL: the client's own call is the server's, by its signature."""
    served, tenant = open_served(grid.url), "default"
    session_id, body = "s-parts-past-a-server", b"1\n2\n3\n"
    spec = SessionSpec(function=reference("tests.e2e.handlers.double", None))
    served.start_upload(session_id, Asked(spec, actor=tenant))
    digest = hashlib.sha256(body).hexdigest()
    url = served.part_url(session_id, DirectPart(0, len(body), digest, "application/x-ndjson"))
    request = urllib.request.Request(url.url, body, dict(url.headers), method="PUT")
    urllib.request.urlopen(request, timeout=60).close()
    served.seal(session_id, 1)

    def is_whole() -> bool:
        return served.session(session_id).counters.completed == 3

    eventually(is_whole, "agents made the session of its parts")
    served.gateway.close()


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


def _told(grid: Grid) -> None:
    """Of their ends those who asked in time hear from agents, and those who ask later from whoever submits again."""
    for handler, failures in (("tests.e2e.handlers.double", 0), ("tests.e2e.handlers.fail_odd", 1)):
        early: Any = {"token": f"early {handler}", "notify": [*DESTINATIONS, StepFunctionsTask(f"early {handler}")]}
        session = grid.submit(handler, [1], **early)
        eventually(partial(_all_heard, session, len(DESTINATIONS) + 1), "agents told all who asked")
        assert ended(session).failed == failures
        late: Any = {"token": f"late {handler}"}
        session = grid.submit(handler, [1], **late)
        ended(session)
        late["notify"] = [*DESTINATIONS, StepFunctionsTask(f"late {handler}")]
        session = grid.submit(handler, [1], **late)
        eventually(partial(_all_heard, session, len(DESTINATIONS) + 1), "whoever asked too late is told at once")


def _all_heard(session: Session, count: int) -> bool:
    found = session.notifications()
    return len(found) == count and all(one.state is NotificationState.DELIVERED for one in found)


if __name__ == "__main__":
    main(sys.argv[1])
