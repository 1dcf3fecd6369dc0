"""Pages of tasks that have no outcome, while their session goes on: none that still has none is passed over."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from htcgrid_core.api.handlers.tasks import _task_pieces
from htcgrid_core.domain.lifecycle import SessionEvent, TaskState
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.gateway.served import ServedGrid
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.commit import commit
from tests.manual_agent import children, run, submit, take
from tests.planes import StillDeployment, memory_plane, spec

ID = "s-0123456789abcdef"
TASKS, IN_BUNDLE, LIMIT = 24, 8, 5


@pytest.fixture
def plane(tmp_path: Path) -> Plane:
    found = memory_plane(tmp_path)
    submit(found, ID, spec(bundle_size=IN_BUNDLE), range(TASKS), idempotent=False)
    return found


def _end(plane: Plane, root: int, completed: list[int]) -> None:
    """Commit these tasks of a root; each of the rest comes back alone, under an id of no order."""
    work = take(plane, Hint(ID, f"{root:08d}"))
    assert work is not None
    done = run(plane, work, lambda event: event, completed)
    commit(plane, work, done.outcomes, children(plane, work, done, size=1), None)


def _page(plane: Plane, state: TaskState | None, cursor: str, limit: int | None) -> list[dict[str, Any]]:
    grid = ServedGrid(InProcessGateway(StillDeployment(plane)))
    record = plane.store.session(ID, plane.clock.now())
    call = cast("Any", SimpleNamespace(service=SimpleNamespace(grid=grid), is_raw=False))
    return [orjson.loads(line) for line, _ in _task_pieces(call, record, state, cursor, limit) if line]


def _rest(plane: Plane, state: TaskState, cursor: str) -> list[int]:
    found = []
    while page := _page(plane, state, cursor, LIMIT):
        found += [task["index"] for task in page]
        cursor = page[-1]["cursor"]
    return found


def test_what_ends_meanwhile_moves_nothing_off_the_next_page(plane: Plane) -> None:
    first = _page(plane, TaskState.QUEUED, "n0", LIMIT)
    assert [task["index"] for task in first] == list(range(LIMIT))
    _end(plane, 0, [0, 2, 3])
    assert _rest(plane, TaskState.QUEUED, first[-1]["cursor"]) == list(range(LIMIT, TASKS))


def test_a_bundle_that_was_split_is_listed_in_order(plane: Plane) -> None:
    _end(plane, 1, [8, 13])
    expected = [n for n in range(TASKS) if n not in (8, 13)]
    assert _rest(plane, TaskState.QUEUED, "n0") == expected


def test_the_end_of_its_session_moves_nothing_either(plane: Plane) -> None:
    first = _page(plane, None, "n0", LIMIT)
    _end(plane, 0, [1, 2])
    for event in (SessionEvent.CANCEL, SessionEvent.DRAIN):
        plane.store.advance(ID, event, now=plane.clock.now(), actor="tester")
    assert _rest(plane, TaskState.CANCELLED, first[-1]["cursor"]) == list(range(LIMIT, TASKS))
