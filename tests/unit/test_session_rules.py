"""When a session is over, what it tolerates, and what a spec may say."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from htcgrid_core.domain.function import Environment, FunctionSpec
from htcgrid_core.domain.lifecycle import SESSION, SessionEvent, SessionState
from htcgrid_core.domain.session import Counters, SessionRecord
from htcgrid_core.domain.session_end import verdict
from tests.planes import spec

NOW = 1000.0


def record(
    counters: Counters,
    *,
    state: SessionState = SessionState.RUNNING,
    tolerated: int | None = None,
    deadline: float | None = None,
) -> SessionRecord:
    return SessionRecord(
        "s-1", state, "{}", "", counters, NOW - 10, NOW, tolerated=tolerated, deadline_at=deadline, bundles=1
    )


class TestVerdict:
    @pytest.mark.parametrize(
        ("completed", "failed", "tolerated", "deadline", "expected"),
        [
            # all ended
            (4, 0, None, None, SessionEvent.COMPLETE),
            (3, 1, None, None, SessionEvent.FAIL),
            (3, 1, 0, None, SessionEvent.FAIL),
            (3, 1, 1, None, SessionEvent.COMPLETE),
            (2, 2, 1, None, SessionEvent.FAIL),
            (0, 4, 4, None, SessionEvent.COMPLETE),
            (0, 4, None, None, SessionEvent.FAIL),
            # not all ended
            (3, 0, None, None, None),
            (0, 3, None, None, None),  # without a threshold everything is run
            (0, 1, 0, None, SessionEvent.FAIL),
            (0, 1, 1, None, None),
            (1, 2, 1, None, SessionEvent.FAIL),
            # deadlines
            (3, 0, None, NOW + 1, None),
            (3, 0, None, NOW, SessionEvent.FAIL),
            (3, 0, None, NOW - 1, SessionEvent.FAIL),
            (4, 0, None, NOW - 1, SessionEvent.COMPLETE),  # it was done in time, only not said
            (3, 1, 1, NOW - 1, SessionEvent.COMPLETE),
            (0, 2, 1, NOW - 1, SessionEvent.FAIL),
        ],
    )
    def test_truth_table(
        self, completed: int, failed: int, tolerated: int | None, deadline: float | None, expected: SessionEvent | None
    ) -> None:
        found = verdict(record(Counters(4, completed, failed), tolerated=tolerated, deadline=deadline), NOW)
        assert (found.event if found else None) is expected
        if found and found.event is SessionEvent.FAIL:
            assert found.reason

    def test_nothing_to_do_is_done(self) -> None:
        found = verdict(record(Counters()), NOW)
        assert found is not None
        assert found.event is SessionEvent.COMPLETE

    @pytest.mark.parametrize("state", [state for state in SessionState if state is not SessionState.RUNNING])
    def test_only_a_running_session_is_judged(self, state: SessionState) -> None:
        for counters in (Counters(4, 4), Counters(4, 0, 4)):
            assert verdict(record(counters, state=state, tolerated=0, deadline=NOW - 1), NOW) is None

    @given(
        st.integers(0, 20),
        st.integers(0, 20),
        st.integers(0, 20),
        st.integers(0, 20),
        st.integers(0, 20),
        st.one_of(st.none(), st.integers(0, 20)),
        st.one_of(st.none(), st.floats(NOW - 5, NOW + 5)),
        st.floats(0, 20),
    )
    def test_once_over_always_over(
        self,
        completed: int,
        failed: int,
        rest: int,
        more_completed: int,
        more_failed: int,
        tolerated: int | None,
        deadline: float | None,
        later: float,
    ) -> None:
        """Whoever sees the end first may write it: nothing that happens later makes it untrue."""
        more_completed = min(more_completed, rest)
        more_failed = min(more_failed, rest - more_completed)
        total = completed + failed + rest
        before = verdict(record(Counters(total, completed, failed), tolerated=tolerated, deadline=deadline), NOW)
        counters = Counters(total, completed + more_completed, failed + more_failed)
        after = verdict(record(counters, tolerated=tolerated, deadline=deadline), NOW + later)
        if before is not None:
            assert after is not None

    def test_its_events_are_legal(self) -> None:
        for event in (SessionEvent.COMPLETE, SessionEvent.FAIL):
            assert SESSION.is_terminal(SESSION.advance(SessionState.RUNNING, event))


class TestThreshold:
    @pytest.mark.parametrize(
        ("max_failures", "total", "tolerated"),
        [
            (None, 100, None),
            (0, 100, 0),
            (7, 100, 7),
            (7, 3, 7),
            (0.01, 100, 1),
            (0.01, 99, 0),
            (0.5, 3, 1),
            (0.5, 0, 0),
            (0.29, 100, 29),  # and not 28, as 0.29 * 100 would have it
            (0.07, 100, 7),
            (0.001, 1_000_000, 1000),
        ],
    )
    def test_count_and_share(self, max_failures: float | None, total: int, tolerated: int | None) -> None:
        assert spec(max_failures=max_failures).tolerated_failures(total) == tolerated

    @given(st.integers(1, 999), st.integers(0, 100_000))
    def test_a_share_is_exact(self, thousandths: int, total: int) -> None:
        tolerated = spec(max_failures=thousandths / 1000).tolerated_failures(total)
        assert tolerated is not None
        assert tolerated <= Fraction(thousandths, 1000) * total < tolerated + 1

    @pytest.mark.parametrize("bad", [-1, 1.0, 1.5, 0.0, -0.1, float("nan"), float("inf"), "3", True])
    def test_what_makes_no_sense(self, bad: object) -> None:
        with pytest.raises(ValidationError):
            spec(max_failures=bad)


class TestSpec:
    @pytest.mark.parametrize(
        "options",
        [
            {"task_timeout_seconds": 0},
            {"task_timeout_seconds": -1},
            {"task_timeout_seconds": float("inf")},
            {"timeout_seconds": float("nan")},
            {"timeout_seconds": 31 * 86400},
            {"memory_mb": 1},
            {"priority": "urgent"},
            {"pool": "Default"},
            {"pool": ""},
            {"pool": "../x"},
            {"pool": "default\n"},
            {"codec": "yaml"},
            {"bundle_size": 0},
            {"bundle_size": 257},
            {"agents": 0},
            {"name": "x" * 257},
            {"labels": {"": "x"}},
            {"labels": {"x": ""}},
            {"labels": {str(number): "x" for number in range(33)}},
            {"retention_seconds": 0},
            {"nonsense": 1},
        ],
    )
    def test_what_makes_no_sense(self, options: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            spec(**options)

    def test_comes_back_from_its_row(self) -> None:
        full = spec(
            name="book", task_timeout_seconds=3, timeout_seconds=60, max_failures=0.5, labels={"desk": "rates"},
            codec="pickle", memory_mb=64, priority="high", pool="large", parent_id="s-0", bundle_size=3, agents=4,
            function={"name": "m:f", "blob": "functions/x", "call": "args", "environment": {"python": "p", "cwd": "c"}},
        )  # fmt: skip
        assert type(full).model_validate_json(full.model_dump_json()) == full

    def test_a_count_and_a_share_stay_what_they_are(self) -> None:
        """Through JSON, 1 is one task and 0.5 a half."""
        for value in (1, 0, 0.5):
            read = type(spec()).model_validate_json(spec(max_failures=value).model_dump_json())
            assert (read.max_failures, type(read.max_failures)) == (value, type(value))

    def test_identity_is_what_is_asked_for(self) -> None:
        """Not where and how it is carried out."""
        base = spec()
        here = Environment(python="/usr/bin/python3", cwd="/home/ada")
        same = [
            spec(agents=7),
            spec(bundle_size=3),
            spec(function=FunctionSpec(name="pricing.handler", environment=here)),
        ]
        other = [
            spec(name="x"),
            spec(task_timeout_seconds=1),
            spec(timeout_seconds=1),
            spec(max_failures=1),
            spec(max_failures=0.5),
            spec(labels={"a": "b"}),
            spec(priority="low"),
            spec(pool="large"),
            spec(parent_id="s-0"),
            spec(retry={"max_attempts": 1}),
            spec(codec="pickle"),
            spec(memory_mb=64),
            spec(function=FunctionSpec(name="pricing.other")),
            spec(function=FunctionSpec(name="pricing.handler", blob="functions/x")),
            spec(function=FunctionSpec(name="pricing.handler", call="event")),
        ]
        assert {each.identity() for each in same} == {base.identity()}
        assert len({each.identity() for each in (base, *other)}) == 1 + len(other)


def test_pending_is_what_is_left() -> None:
    for completed, failed, cancelled in product(range(3), repeat=3):
        assert Counters(9, completed, failed, cancelled).pending == 9 - completed - failed - cancelled
