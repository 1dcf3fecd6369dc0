"""How near to an ideal queue of single tasks a session runs, in virtual time: the same on every machine."""

from __future__ import annotations

import pytest

from htcgrid_core.domain import limits
from htcgrid_core.testing.simulator.efficiency import DURATIONS, ideal, measure

SLOTS = 8
ROUNDS = 60
AT_LEAST = {"constant 1 s": 0.95, "lognormal, mean 1 s": 0.90, "1 s, 1% take 10 s": 0.90}


@pytest.mark.parametrize("durations", DURATIONS)
@pytest.mark.parametrize("agents", [10, 40])
def test_a_session_takes_little_longer_than_an_ideal_queue(agents: int, durations: str) -> None:
    found = measure(agents, SLOTS, ROUNDS, durations)
    assert found.ratio >= AT_LEAST[durations], f"{found}"
    assert found.ratio <= 1.0, f"nothing is quicker than the ideal: {found}"


def test_bundles_that_are_far_too_large_are_shared_after_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> float:  # 13 bundles of 256 tasks for 40 agents
        return measure(40, SLOTS, 10, "1 s, 1% take 10 s", expected_agents=1).ratio

    assert found() >= AT_LEAST["1 s, 1% take 10 s"]
    monkeypatch.setattr(limits, "TIME_SLICE_SECONDS", 1e6)  # agents never hand anything back
    assert found() < 0.6, "the measure does not see that most agents are idle"


def test_the_ideal_queue_gives_each_task_to_the_slot_that_is_free_first() -> None:
    assert ideal([3.0, 1.0, 1.0, 1.0], slots=2) == 3.0
    assert ideal([1.0, 1.0, 1.0, 3.0], slots=2) == 4.0
