"""When a failed task runs again: attempts, full jitter, and the breaker of an agent that cannot work."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from htcgrid_core.domain import limits
from htcgrid_core.domain.breaker import Breaker
from htcgrid_core.domain.retry import RetryPolicy

seconds = st.floats(0, 3600, allow_nan=False)


@st.composite
def policies(draw: st.DrawFn) -> RetryPolicy:
    base = draw(seconds)
    return RetryPolicy(
        max_attempts=draw(st.integers(1, 1000)),
        backoff_base_seconds=base,
        backoff_cap_seconds=draw(st.floats(base, 86400)),
    )


class TestPolicy:
    @given(policies(), st.integers(1, 5000), st.randoms(use_true_random=False))
    def test_full_jitter_is_between_nothing_and_the_doubled_base(
        self, policy: RetryPolicy, failures: int, rng: random.Random
    ) -> None:
        delay = policy.delay_seconds(failures, rng)
        assert 0 <= delay <= policy.backoff_cap_seconds
        if failures < 60:
            assert delay <= policy.backoff_base_seconds * 2 ** (failures - 1)

    @pytest.mark.parametrize(("failures", "longest"), [(1, 1.0), (2, 2.0), (3, 4.0), (7, 60.0), (1000, 60.0)])
    def test_full_jitter_uses_the_whole_range(self, failures: int, longest: float) -> None:
        rng = random.Random(1)
        delays = [RetryPolicy().delay_seconds(failures, rng) for _ in range(2000)]
        assert min(delays) < 0.05 * longest
        assert 0.95 * longest < max(delays) <= longest
        assert abs(sum(delays) / len(delays) - longest / 2) < 0.05 * longest

    @given(policies(), st.integers(1, 2000))
    def test_attempts_are_bounded(self, policy: RetryPolicy, failures: int) -> None:
        assert policy.allows(failures, "ValueError") is (failures < policy.max_attempts)

    def test_what_never_helps_is_not_tried_again(self) -> None:
        policy = RetryPolicy(max_attempts=10, never_retry=("ValueError",))
        assert not policy.allows(1, "ValueError")
        assert policy.allows(1, "KeyError")

    @pytest.mark.parametrize(
        "options",
        [
            {"max_attempts": 0},
            {"max_attempts": 1001},
            {"backoff_base_seconds": -1},
            {"backoff_base_seconds": 61},
            {"backoff_cap_seconds": 0.5},
            {"backoff_cap_seconds": float("nan")},
            {"backoff_cap_seconds": float("inf")},
            {"attempts": 3},
        ],
    )
    def test_what_makes_no_sense_is_refused(self, options: dict[str, float]) -> None:
        with pytest.raises(ValidationError):
            RetryPolicy.model_validate(options)

    def test_no_delay_is_possible(self) -> None:
        policy = RetryPolicy(backoff_base_seconds=0, backoff_cap_seconds=0)
        assert policy.delay_seconds(5, random.Random(0)) == 0


class TestBreaker:
    def test_opens_after_so_many_failures_in_a_row(self) -> None:
        breaker = Breaker(threshold=3, cooldown_seconds=5, cooldown_cap_seconds=60)
        for _ in range(2):
            breaker.record_failure(100)
            assert breaker.allows(100)
        breaker.record_failure(100)
        assert not breaker.allows(104.9)
        assert breaker.allows(105)

    def test_a_failed_probe_doubles_the_wait_up_to_its_cap(self) -> None:
        breaker = Breaker(threshold=1, cooldown_seconds=5, cooldown_cap_seconds=60)
        now = 0.0
        for wait in (5, 10, 20, 40, 60, 60, 60):
            breaker.record_failure(now)
            assert not breaker.allows(now + wait - 0.1)
            now += wait
            assert breaker.allows(now)

    def test_a_success_closes_it(self) -> None:
        breaker = Breaker(threshold=2, cooldown_seconds=5)
        breaker.record_failure(0)
        breaker.record_failure(0)
        breaker.record_success()
        assert breaker.allows(0)
        breaker.record_failure(0)
        assert breaker.allows(0)

    @given(st.lists(st.one_of(st.none(), st.floats(0, 1e6)), max_size=200))
    def test_never_stays_open_for_longer_than_its_cap(self, happenings: list[float | None]) -> None:
        """None is a success, a number the time of a failure."""
        breaker = Breaker()
        now = 0.0
        for at in happenings:
            if at is None:
                breaker.record_success()
                assert breaker.allows(now)
            else:
                now = max(now, at)
                breaker.record_failure(now)
            assert breaker.allows(now + limits.BREAKER_COOLDOWN_CAP_SECONDS)
