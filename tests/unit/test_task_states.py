"""The states of all tasks, a byte each, against the tasks themselves."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from htcgrid_core.domain.lifecycle import SessionEvent, TaskState
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import task_states
from htcgrid_core.services.commit import commit
from htcgrid_core.services.task_states import Code, TaskStates
from htcgrid_core.services.tasks import open_tasks
from tests.faults import calls_of
from tests.manual_agent import children, run, take
from tests.planes import memory_plane
from tests.unit.test_results import ID, commit_some, now_of, send

FINAL: dict[str, Any] = {"retry": {"max_attempts": 1}, "max_failures": 1000}  # a failure is final
OUTPUTS = ("bundle_pages", "outcome_pages", "root_pages")


@pytest.fixture
def plane(tmp_path: Path) -> Plane:
    return memory_plane(tmp_path)


def run_root(plane: Plane, root: int, size: int = 4, left: int = 0, failed: int = 0) -> None:
    """Commit a root: its last tasks are left to children, and the first of the others fail."""
    first = size * root
    ended = list(range(first, first + size - left))
    commit_some(plane, root, ended[failed:], ended[:failed])


def test_what_completed_as_whole_bundles_is_seen_without_outputs(plane: Plane) -> None:
    send(plane, 400)
    for root in (7, 3, 99):
        run_root(plane, root)
    states = TaskStates()
    record = now_of(plane)
    calls = calls_of(plane, lambda p: states.look(p, record))
    assert not set(calls).intersection(OUTPUTS)
    seen = states.look(plane, record)
    assert [index for index, code in enumerate(seen) if code] == [*range(12, 16), *range(28, 32), *range(396, 400)]
    assert set(seen) == {Code.WAITING, Code.COMPLETED}


def test_all_alike_is_seen_without_reading(plane: Plane) -> None:
    send(plane, 8)
    for root in range(2):
        run_root(plane, root)
    record, states = now_of(plane), TaskStates()
    assert not calls_of(plane, lambda p: states.look(p, record))
    assert states.look(plane, record) == bytes((Code.COMPLETED,)) * 8


def test_the_next_look_reads_what_is_new(plane: Plane) -> None:
    send(plane, 400, **FINAL)
    for root in range(20):
        run_root(plane, root, failed=1)
    states = TaskStates()
    before = states.look(plane, now_of(plane))
    run_root(plane, 50)
    record = now_of(plane)
    calls = calls_of(plane, lambda p: states.look(p, record))
    assert not set(calls).intersection((*OUTPUTS, "blocks"))
    after = states.look(plane, record)
    assert [at for at in range(400) if before[at] != after[at]] == [*range(200, 204)]


def test_what_is_still_to_be_read_shows_as_that(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_states, "PAGES_A_LOOK", 3)
    send(plane, 40, **FINAL)
    for root in range(10):
        run_root(plane, root, failed=1)
    states = TaskStates()
    left: list[int] = []
    while not (left and states.is_whole):
        left.append(states.look(plane, now_of(plane)).count(Code.UNREAD))
    assert left == [28, 16, 4, 0]
    assert states.look(plane, now_of(plane)).count(Code.FAILED) == 10


def test_what_a_cancelled_session_did_not_run(plane: Plane) -> None:
    send(plane, 12)
    run_root(plane, 1)
    plane.store.advance(ID, SessionEvent.CANCEL, now=plane.clock.now(), actor="test")
    plane.store.advance(ID, SessionEvent.DRAIN, now=plane.clock.now(), actor="test")
    seen = TaskStates().look(plane, now_of(plane))
    assert list(seen) == [Code.CANCELLED] * 4 + [Code.COMPLETED] * 4 + [Code.CANCELLED] * 4


ROOTS = 12
COMMIT = st.tuples(st.integers(0, ROOTS - 1), st.integers(0, 3), st.integers(0, 2))


@settings(max_examples=30, deadline=None)
@given(commits=st.lists(COMMIT, max_size=ROOTS, unique_by=lambda one: one[0]), looks=st.sets(st.integers(0, ROOTS)))
def test_whatever_was_committed(tmp_path_factory: pytest.TempPathFactory, commits: list[tuple[int, int, int]],
                                looks: set[int]) -> None:  # fmt: skip
    plane = memory_plane(tmp_path_factory.mktemp("plane"))
    send(plane, 4 * ROOTS - 1, **FINAL)
    states = TaskStates()
    for at, (root, left, failed) in enumerate(commits):
        size = 3 if root == ROOTS - 1 else 4
        kept = min(left, size - 1)
        first = 4 * root
        ended = list(range(first, first + size - kept))
        commit_some(plane, root, ended[failed:], ended[:failed])
        if kept:
            child = next(one for one in plane.store.open_bundles(ID, f"{root:08d}", 1)).bundle
            if failed:  # some children run at once, others stay open
                run_child(plane, child.bundle_id)
        if at in looks:
            check(plane, states)
    check(plane, states)


def run_child(plane: Plane, bundle_id: str) -> None:
    work = take(plane, Hint(ID, bundle_id))
    assert work is not None
    done = run(plane, work, lambda event: event, list(work.bundle.indexes))
    commit(plane, work, done.outcomes, children(plane, work, done, size=1), None)


def check(plane: Plane, states: TaskStates) -> None:
    record = now_of(plane)
    seen = states.look(plane, record)
    if record.ended:
        assert Code.WAITING not in seen
    else:
        waiting = {task.index for task in open_tasks(plane, record) if task.state is TaskState.QUEUED}
        assert {index for index, code in enumerate(seen) if code == Code.WAITING} == waiting
    counted = Counter(seen)
    assert counted[Code.COMPLETED] == record.counters.completed
    assert counted[Code.FAILED] == record.counters.failed
