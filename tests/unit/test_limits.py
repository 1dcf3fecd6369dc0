"""The numbers, and what they must be to one another."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import pytest

from htcgrid_core.domain import limits
from htcgrid_core.domain.session import SessionSpec

NUMBERS = {name: value for name, value in vars(limits).items() if name.isupper() and isinstance(value, int | float)}


def test_two_lost_heartbeats_lose_no_lease() -> None:
    assert 3 * limits.HEARTBEAT_SECONDS <= limits.LEASE_SECONDS - limits.LEASE_MARGIN_SECONDS


def test_an_agent_stops_before_others_may_take_over() -> None:
    assert 0 < limits.LEASE_MARGIN_SECONDS < limits.LEASE_SECONDS


def test_a_slice_ends_within_a_lease() -> None:
    assert max(limits.TIME_SLICE_SECONDS, limits.LOCAL_TIME_SLICE_SECONDS) < (
        limits.LEASE_SECONDS - limits.LEASE_MARGIN_SECONDS
    )


def test_a_drain_ends_within_a_lease() -> None:
    assert limits.DRAIN_GRACE_SECONDS <= limits.LEASE_SECONDS


def test_poison_is_isolated_before_it_is_given_up() -> None:
    assert 0 < limits.CRASHES_BEFORE_ISOLATION < limits.CRASH_LIMIT


def test_a_bundle_of_events_fits_where_it_travels() -> None:
    """Also with one more event than it should have had, and its framing and signature."""
    assert limits.MAX_BUNDLE_BYTES <= limits.INLINE_PAYLOAD_BYTES <= limits.MAX_EVENT_BYTES


def test_a_stalled_submitter_is_slower_than_any_retry() -> None:
    assert limits.SUBMIT_STALL_SECONDS > 2 * limits.LEASE_SECONDS


def test_wrong_clocks_abort_no_submission() -> None:
    """The submitter's behind and the reconciler's ahead."""
    assert limits.SUBMIT_STALL_SECONDS > 2 * limits.WRONG_CLOCK_SECONDS + limits.LEASE_SECONDS


def test_priorities_are_in_order() -> None:
    ranks = limits.RANK_STRIDE
    assert ranks["high"] < ranks["normal"] < ranks["low"]
    priorities = SessionSpec.model_fields["priority"].annotation
    assert set(ranks) == set(priorities.__args__)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_every_number_names_its_unit_and_makes_sense(name: str) -> None:
    units = r"SECONDS|BYTES|TASKS|ATTEMPTS|LIMIT|THRESHOLD|BATCH|ERRORS|CRASHES|MB|FIRST|FILES|READS|TICKS|HEARTBEATS"
    assert re.search(units, name), f"{name} does not say what it counts"
    assert NUMBERS[name] > 0


def test_the_relations_are_asserted_where_the_numbers_are() -> None:
    """A number that breaks a promise does not even import."""
    source = inspect.getsource(limits).replace("LEASE_SECONDS: Final = 30.0", "LEASE_SECONDS: Final = 6.0")
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "AssertionError" in done.stderr
