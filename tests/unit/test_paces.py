"""When a client looks at a session again whose bells it does not hear."""

from __future__ import annotations

from dataclasses import replace

import pytest

from htcgrid_core.cloud import deployment
from htcgrid_core.cloud.deployment import PollingBell
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session import Counters, SessionRecord
from htcgrid_core.gateway import paces
from htcgrid_core.gateway.paces import Paces
from htcgrid_core.testing.contracts import given


class Hand:
    """A clock that is set, and a bell that nobody rings: it notes how long it was waited for."""

    def __init__(self) -> None:
        self.at = 100.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return self.at

    def wait(self, timeout_seconds: float) -> bool:
        self.waits.append(timeout_seconds)
        return False


def row(done: int, total: int = 64) -> SessionRecord:
    state = SessionState.COMPLETED if done == total else SessionState.RUNNING
    return replace(given.record("s-1"), state=state, counters=Counters(total=total, completed=done))


def looked(*looks: tuple[float, int]) -> tuple[Hand, Paces]:
    """After looks at monotonic times, at which so many tasks had ended."""
    clock = Hand()
    found = Paces(clock)  # type: ignore[arg-type]  # all that it asks
    for clock.at, done in looks:
        found.saw(row(done))
    return clock, found


def test_whose_pace_is_not_known_may_wait() -> None:
    assert looked()[1].look_within("s-1") == float("inf")
    assert looked((0.0, 0), (1.0, 0))[1].look_within("s-1") == float("inf")


def test_the_next_look_is_shortly_before_the_others_may_have_ended() -> None:
    """Sixteen in a tenth of a second, of which 16 are left: in another tenth."""
    _, found = looked((0.0, 32), (0.1, 48))
    assert found.look_within("s-1") == pytest.approx(0.1 * paces.BEFORE_SHARE)


def test_a_pace_is_from_end_to_end_however_often_it_is_looked_at() -> None:
    """Five seconds for each: a look just before one ends does not make it quick."""
    _, found = looked((0.0, 60), (4.9, 60), (5.0, 61), (9.9, 61), (10.0, 62))
    assert found.look_within("s-1") == pytest.approx(2 * 5.0 * paces.BEFORE_SHARE)


def test_the_nearer_the_end_the_more_often_and_not_endlessly() -> None:
    """From a pace of which nothing comes, looks become rare again."""
    clock, found = looked((0.0, 0), (1.0, 60))
    pauses = []
    for _ in range(20):
        pauses.append(found.look_within("s-1"))
        clock.at += pauses[-1]
        found.saw(row(60))
    assert min(pauses) == paces.SOONEST_SECONDS
    assert pauses[-1] > 1.0


def test_what_has_ended_is_forgotten() -> None:
    _, found = looked((0.0, 32), (0.1, 48), (0.2, 64))
    assert found.look_within("s-1") == float("inf")


def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paces, "SESSIONS", 1)
    _, found = looked((0.0, 32), (0.1, 48))
    found.saw(replace(row(1), session_id="s-2"))
    assert found.look_within("s-1") == float("inf")


@pytest.mark.parametrize(
    ("waited", "pause"),
    [
        (0.0, 0.25),  # the shortest was 0.4
        (0.3, 0.03),
        (0.38, 0.01),
        (1.8, 0.09),  # at 1.89 it is near the other one
        (2.0, 0.04),
        (3.0, 0.3),
    ],
)
def test_a_client_looks_more_often_near_its_last_waits(
    waited: float, pause: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Hand()
    monkeypatch.setattr(deployment, "time", clock)
    bell = PollingBell(clock, [0.4, 2.1])  # type: ignore[arg-type]
    clock.at += waited
    bell.wait(5.0)
    assert clock.waits == [pytest.approx(pause)]
