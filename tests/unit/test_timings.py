"""When tasks ended and how long they took."""

from __future__ import annotations

from pathlib import Path

import pytest

from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import timings as module
from htcgrid_core.services.timings import BOUNDS, timings
from tests.faults import calls_of
from tests.planes import memory_plane
from tests.unit.test_results import now_of, send
from tests.unit.test_task_states import FINAL, run_root


@pytest.fixture
def plane(tmp_path: Path) -> Plane:
    return memory_plane(tmp_path)


def test_of_nothing(plane: Plane) -> None:
    send(plane, 8)
    found = timings(plane, now_of(plane))
    assert (found.tasks, found.ended, sum(found.durations), found.slowest) == (0, (), 0, ())


def test_of_all_that_have_ended(plane: Plane) -> None:
    send(plane, 40, **FINAL)
    for root in range(6):
        run_root(plane, root, failed=1)
    found = timings(plane, now_of(plane))
    assert found.tasks == sum(found.ended) == sum(found.durations) == 24
    assert len(found.durations) == len(BOUNDS) + 1
    assert len(found.slowest) == module.SLOWEST
    seconds = [slow.seconds for slow in found.slowest]
    assert seconds == sorted(seconds, reverse=True)


def test_of_many_bundles_some_are_read(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLED_BUNDLES", 5)
    send(plane, 80)
    for root in range(20):
        run_root(plane, root)
    record = now_of(plane)
    assert calls_of(plane, lambda p: timings(p, record)).count("bundle_pages") == 1
    found = timings(plane, record)
    assert found.tasks == 20
    assert {slow.index // 4 for slow in found.slowest} == {0, 4, 8, 12, 16}
