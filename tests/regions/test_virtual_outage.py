"""An outage of one of two regions in virtual time, small; ``make bench-aws`` has one of 100,000 slots."""

from __future__ import annotations

import pytest

from tests.aws.bench.outage import FAILS, SILENCE_SECONDS, SMALL, STAYS, Found, Outage, TwoRegions, rows_of


@pytest.fixture(scope="module")
def found() -> Found:
    return TwoRegions(SMALL).run(lambda _: None)


def test_nothing_is_lost(found: Found) -> None:
    """Also of what was in the region when it failed: it goes on when that is back."""
    assert found.lost == 0
    assert len({each.session_id for each in found.submissions}) == SMALL.sessions
    assert not [row for row in rows_of(found) if row.passed is False]
    before = found.placed(0.0, found.started + SMALL.begins)
    assert min(before[FAILS], before[STAYS]) > 0


def test_new_sessions_go_elsewhere(found: Found) -> None:
    placed = found.placed(found.started + SMALL.begins + SILENCE_SECONDS, found.started + SMALL.ends)
    assert placed[FAILS] == 0
    assert placed[STAYS] > 10
    without = [each for each in found.submissions if not each.token]
    assert max(each.refused for each in without) <= 2, "who tries again is not refused again and again"
    assert any(each.refused for each in found.submissions if each.token), "since it may have been there"


@pytest.mark.slow
def test_a_fleet() -> None:
    """10,000 slots and 1,000 tasks/s; the same again at ten times the size is ``--only regions``."""
    outage = Outage(312, 10.0, 2000, 4, begins=10.0, ends=40.0, seconds=60.0)
    found = TwoRegions(outage).run(lambda _: None)
    assert not [row for row in rows_of(found) if row.passed is False]
    assert found.busiest["in it"].first[0] == "slots"
