"""Looks that many viewers share: none of them sees what was before its own session, or before its end."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from htcgrid_core.domain.lifecycle import SessionEvent
from htcgrid_core.gateway.looks import FRESH_SECONDS, Looks
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.task_states import Code
from tests.faults import calls_of
from tests.planes import memory_plane
from tests.unit.test_results import ID, now_of, send
from tests.unit.test_task_states import run_root


@pytest.fixture
def plane(tmp_path: Path) -> Plane:
    return memory_plane(tmp_path)


def test_what_one_saw_a_moment_ago_is_good_for_the_next(plane: Plane) -> None:
    send(plane, 12)
    looks, record = Looks(), now_of(plane)
    looks.look(plane, record)
    assert not calls_of(plane, lambda p: looks.look(p, record))
    plane.clock.sleep(FRESH_SECONDS)
    assert calls_of(plane, lambda p: looks.look(p, record))


def test_who_knows_of_the_end_sees_it(plane: Plane) -> None:
    """He does not look again."""
    send(plane, 12)
    looks = Looks()
    looks.look(plane, now_of(plane))
    for root in range(3):
        run_root(plane, root)
    ended = plane.store.advance(ID, SessionEvent.FAIL, now=plane.clock.now(), actor="tester")
    assert looks.look(plane, ended).codes == bytes((Code.COMPLETED,)) * 12


def test_a_session_of_the_same_id_is_another_one(plane: Plane) -> None:
    send(plane, 12)
    run_root(plane, 0)
    looks = Looks()
    ended = plane.store.advance(ID, SessionEvent.FAIL, now=plane.clock.now(), actor="tester")
    assert set(looks.look(plane, ended).codes) == {Code.COMPLETED, Code.CANCELLED}
    plane.clock.sleep(ended.retention_seconds + 1)
    assert [gone.session_id for gone in plane.store.expire(plane.clock.now(), 10)] == [ID]
    send(plane, 4)
    assert looks.look(plane, now_of(plane)).codes == bytes((Code.WAITING,)) * 4


def test_timings_are_shared_too(plane: Plane) -> None:
    """And those of a session that has ended are read once."""
    send(plane, 12)
    run_root(plane, 0)
    looks, record = Looks(), now_of(plane)
    assert looks.timings(plane, record).tasks == 4
    assert not calls_of(plane, lambda p: looks.timings(p, record))
    plane.clock.sleep(FRESH_SECONDS)
    assert calls_of(plane, lambda p: looks.timings(p, record))
    ended = plane.store.advance(ID, SessionEvent.FAIL, now=plane.clock.now(), actor="tester")
    assert calls_of(plane, lambda p: looks.timings(p, ended)), "who knows of the end sees it"
    plane.clock.sleep(1000)
    assert not calls_of(plane, lambda p: looks.timings(p, ended))


def test_states_are_packed_once_and_known_by_a_tag(plane: Plane) -> None:
    send(plane, 12)
    looks, record = Looks(), now_of(plane)
    first = looks.look(plane, record)
    assert gzip.decompress(first.zipped) == first.codes
    assert looks.look(plane, record).zipped is first.zipped
    plane.clock.sleep(FRESH_SECONDS)
    assert looks.look(plane, record).tag == first.tag
    run_root(plane, 1)
    plane.clock.sleep(FRESH_SECONDS)
    assert looks.look(plane, now_of(plane)).tag != first.tag
