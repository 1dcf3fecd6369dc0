"""Resubmitting: only what is missing runs again, and results merge with the parent's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from htcgrid_core.client.grid import Grid
from htcgrid_core.client.session import Session
from htcgrid_core.codecs.shared import SharedInput
from htcgrid_core.domain.bundle import root_id
from htcgrid_core.domain.errors import SessionFailed, SessionNotFinished, SessionNotFound, TaskFailed
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.retry import RetryPolicy
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.reconcile import reconcile
from tests.manual_agent import finish, take, work_on
from tests.planes import still_grid

ONCE = RetryPolicy(max_attempts=1)


@pytest.fixture
def grid(plane: Plane) -> Grid:
    return still_grid(plane)


def failing(*bad: Any) -> Callable[[Any], Any]:
    """Ten times the event, but for some."""

    def function(event: Any) -> Any:
        if event in bad:
            raise ValueError(f"no {event}")
        return event * 10

    return function


def send(grid: Grid, count: int = 10, **options: Any) -> Session:
    return grid.submit("math.sqrt", range(count), retry=ONCE, bundle_size=3, **options)


def test_merges_with_its_parent(plane: Plane, grid: Grid) -> None:
    parent = send(grid, max_failures=9, name="book", labels={"desk": "rates"})
    finish(plane, failing(0, 4, 9))
    child = grid.resubmit(parent)
    assert child.progress().total == 3
    assert (child.name, child.labels, child.spec.parent_id) == ("book", {"desk": "rates"}, parent.id)
    finish(plane, failing())
    assert list(child.results()) == [10 * n for n in range(10)]
    assert [r if isinstance(r, int) else r.index for r in parent.results(errors="return")] == [
        0, 10, 20, 30, 4, 50, 60, 70, 80, 9,
    ]  # fmt: skip


def test_again_and_again(plane: Plane, grid: Grid) -> None:
    """Each resubmission takes what is still missing after the last one."""
    first = send(grid)
    finish(plane, failing(1, 2, 3, 8))
    second = grid.resubmit(first)
    finish(plane, failing(2, 8))
    assert second.progress().total == 4
    third = grid.resubmit(second)
    finish(plane, failing(8))
    fourth = grid.resubmit(third.id)
    finish(plane, failing())
    assert (third.progress().total, fourth.progress().total) == (2, 1)
    assert list(fourth.results()) == [10 * n for n in range(10)]


def test_what_is_still_missing_has_its_own_index(plane: Plane, grid: Grid) -> None:
    """Errors of a merged result name the task as the first session numbered it."""
    first = send(grid)
    finish(plane, failing(2, 7))
    second = grid.resubmit(first)
    finish(plane, failing(7))
    merged = list(second.results(errors="return"))
    assert [n for n, result in enumerate(merged) if isinstance(result, TaskFailed)] == [7]
    assert merged[7].index == 7
    assert merged[7].error.message == "no 7"
    with pytest.raises(SessionFailed):
        next(second.results())


def test_what_was_cancelled_runs_too(plane: Plane, grid: Grid) -> None:
    parent = send(grid)
    work_on(plane, failing(0), bundles=2)
    parent.cancel()
    reconcile(plane, 1.0)
    assert parent.progress().state is SessionState.CANCELLED
    child = grid.resubmit(parent)
    assert child.progress().total == 5  # one failed and four never began
    finish(plane, failing())
    assert list(child.results()) == [10 * n for n in range(10)]


def test_nothing_was_missing(plane: Plane, grid: Grid) -> None:
    parent = send(grid)
    finish(plane, failing())
    child = grid.resubmit(parent)
    assert child.progress().state is SessionState.COMPLETED
    assert child.progress().total == 0
    assert list(child.results()) == [10 * n for n in range(10)]


def test_not_while_it_runs(plane: Plane, grid: Grid) -> None:
    parent = send(grid)
    with pytest.raises(SessionNotFinished, match="still runs"):
        grid.resubmit(parent)
    assert take(plane, Hint(parent.id, root_id(0)))  # an agent is at work on it
    parent.cancel()
    with pytest.raises(SessionNotFinished):
        grid.resubmit(parent)


def test_under_a_token(plane: Plane, grid: Grid) -> None:
    """Idempotent like any submission; another parent under the same token is another body."""
    parents = []
    for _ in range(2):
        parents.append(send(grid))
        finish(plane, failing(3))
    child = grid.resubmit(parents[0], token="again")
    assert grid.resubmit(parents[0], token="again").id == child.id
    from htcgrid_core.domain.errors import SessionConflict

    with pytest.raises(SessionConflict):
        grid.resubmit(parents[1], token="again")


def test_pickled_events_and_shared_inputs_travel_along(plane: Plane, grid: Grid) -> None:
    """The events are those that were stored, signed anew for their new session."""
    market = grid.put(b"market data")
    parent = grid.submit(len, [(1,), (1, market), {2, 3}], retry=ONCE)
    finish(plane, failing((1,), (1, market), {2, 3}))
    child = grid.resubmit(parent)
    seen: list[Any] = []
    finish(plane, lambda event: seen.append(event) or len(event))  # type: ignore[func-returns-value]
    assert seen == [(1,), (1, SharedInput(market.digest, "bytes")), {2, 3}]
    assert list(child.results()) == [1, 2, 2]


def test_events_are_as_they_were_submitted(plane: Plane, grid: Grid) -> None:
    shared = grid.put({"curve": [1, 2]})
    events = [{"n": number, "market": shared} for number in range(100)]
    session = grid.submit(len, events, bundle_size=7)
    assert list(session.events()) == events
    assert list(grid.submit(len, []).events()) == []


@pytest.mark.parametrize("is_done", [True, False])
def test_a_newer_session_under_the_parents_id_is_no_parent(plane: Plane, grid: Grid, is_done: bool) -> None:
    """The parent was deleted, and its step run again: no result of the child is put among those of the newer one."""
    parent = grid.submit("math.sqrt", [1, 2, 3], token="step", retry=ONCE)
    finish(plane, failing(2))
    child = grid.resubmit(parent)
    finish(plane, failing())
    assert list(child.results()) == [10, 20, 30]
    parent.delete()
    plane.clock.sleep(3600.0)
    again = grid.submit("math.sqrt", [4, 5, 6], token="step", retry=ONCE)
    assert again.id == parent.id
    if is_done:
        finish(plane, failing(4))
    with pytest.raises(SessionNotFound, match=parent.id):
        list(grid.session(child.id).results())
