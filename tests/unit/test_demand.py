"""How many slots are wanted: the one number for scaling."""

from __future__ import annotations

from dataclasses import replace

import pytest

from htcgrid_core.adapters.prometheus import PrometheusMetrics
from htcgrid_core.domain import agent_version, limits, metrics
from htcgrid_core.domain.demand import Demand, demand_of
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session import Counters, Priority, SessionRecord, SessionSpec

TARGET = limits.BACKLOG_TARGET_SECONDS


def session(
    tasks: int,
    *,
    ended: int = 0,
    seconds: float = 0.0,
    pool: str = "default",
    priority: Priority = "normal",
    state: SessionState = SessionState.RUNNING,
) -> SessionRecord:
    """A live session with ``tasks`` left, of which so many that took ``seconds`` each have ended."""
    spec = SessionSpec(function=FunctionSpec(name="a.b"), pool=pool, priority=priority)
    counters = Counters(total=tasks + ended, completed=ended, task_seconds=ended * seconds)
    return SessionRecord("s-1234", state, spec.text, "", counters, 0.0, 0.0, pool=pool)


def wanted(*live: SessionRecord, busy: int = 0) -> int:
    """Slots wanted of the default pool."""
    return sum(demand.slots_wanted for demand in demand_of(live, {"default": busy}) if demand.pool == "default")


@pytest.mark.parametrize(
    ("tasks", "seconds", "expected"),
    [
        (1_000_000, 0.001, 17),  # 1,000 s of work
        (1_000_000, 1.0, 16_667),
        (100, 3600.0, 100),  # never more than tasks
        (64, 1.0, 2),
        (1, 0.001, 1),
        (0, 1.0, 0),
    ],
)
def test_slots_do_the_work_in_the_target_time(tasks: int, seconds: float, expected: int) -> None:
    assert wanted(session(tasks, ended=10, seconds=seconds)) == expected


def test_a_scaler_may_have_another_target() -> None:
    (_, normal, _) = demand_of([session(1000, ended=1, seconds=6.0)], {}, backlog_seconds=600.0)
    assert (normal.work_seconds, normal.slots_wanted) == (6000.0, 10)


def test_tasks_of_unknown_length_want_a_slot_each() -> None:
    assert wanted(session(500)) == 500


def test_the_length_of_others_in_the_pool_is_taken_where_a_session_has_none_of_its_own() -> None:
    live = [session(600, ended=10, seconds=1.0), session(600)]
    assert wanted(*live) == 20
    assert wanted(session(600), session(600, ended=10, seconds=1.0, pool="other")) == 600


def test_busy_slots_are_wanted_and_messages_are_no_measure() -> None:
    """100,000 tasks of 10 s run, in 5,311 bundles: neither so many messages nor less than what runs is wanted."""
    live = [session(100_000, ended=1_000_000, seconds=10.0)]
    assert wanted(*live, busy=100_000) == 100_000
    assert wanted(*live, busy=0) == 16_667


def test_no_more_is_wanted_than_there_is_to_do_however_many_slots_were_busy() -> None:
    assert wanted(session(3, ended=10, seconds=1.0), busy=500) == 3
    assert wanted(busy=500) == 0


def test_priorities_stand_apart_in_their_order_and_share_the_busy_slots() -> None:
    live = [session(30, ended=1, seconds=1.0, priority="low"), session(10, ended=1, seconds=1.0, priority="high")]
    found = demand_of(live, {"default": 20})
    assert [(demand.priority, demand.tasks, demand.slots_wanted) for demand in found] == [
        ("high", 10, 5),
        ("normal", 0, 0),
        ("low", 30, 15),
    ]


def test_every_pool_with_agents_is_told_so_that_a_scaler_sees_it_fall_to_zero() -> None:
    found = demand_of([session(1, pool="gpu")], {"default": 0})
    assert [(demand.pool, demand.slots_wanted) for demand in found if demand.priority == "normal"] == [
        ("default", 0),
        ("gpu", 1),
    ]


def test_sessions_that_are_written_want_slots_and_those_being_cancelled_do_not() -> None:
    assert wanted(session(7, state=SessionState.SUBMITTED)) == 7
    assert wanted(session(7, state=SessionState.CANCELLING), busy=7) == 0


def test_agents_of_this_release_are_not_wanted_for_sessions_of_a_newer_one() -> None:
    newer = session(7)
    spec = SessionSpec.model_validate_json(newer.spec).model_copy(
        update={"min_agent_version": agent_version.AGENT_VERSION + 1}
    )
    assert wanted(replace(newer, spec=spec.text)) == 0


def test_demand_is_told_as_a_metric_of_each_pool_and_priority() -> None:
    count = PrometheusMetrics("book", "default")
    count.show(metrics.SLOTS_WANTED, 12.0, seconds=1000.0, pool="spot-large", priority="low")
    _, page = count.page()
    assert b'htcgrid_slots_wanted{grid="book",pool="spot-large",priority="low"} 12.0' in page


def test_what_is_wanted_is_said_in_seconds_too() -> None:
    found = demand_of([session(90, ended=10, seconds=2.0)], {})
    assert Demand("default", "normal", 1, 90, 180.0, 3) in found
    assert 180.0 / TARGET == 3
