"""An agent that does not find its grid at once."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from htcgrid_core.cloud.starting import PatientReading
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GridUnavailable, UnknownGrid
from tests.planes import ManualClock


def failing(error: Exception, times: int) -> tuple[list[int], Callable[[], str]]:
    """A call that fails so often, and how often it was made."""
    made: list[int] = []

    def call() -> str:
        made.append(1)
        if len(made) <= times:
            raise error
        return "found"

    return made, call


def test_trouble_that_passes_is_borne() -> None:
    clock = ManualClock()
    made, call = failing(GridUnavailable("throttled"), 5)
    assert PatientReading(clock, Random(1))(call) == "found"
    assert len(made) == 6


def test_what_does_not_pass_is_told_at_once() -> None:
    made, call = failing(UnknownGrid("there is none"), 1)
    with pytest.raises(UnknownGrid):
        PatientReading(ManualClock(), Random(1))(call)
    assert len(made) == 1


def test_it_ends_when_its_time_is_up() -> None:
    clock = ManualClock()
    began = clock.monotonic()
    made, call = failing(GridUnavailable("throttled"), 10_000)
    with pytest.raises(GridUnavailable):
        PatientReading(clock, Random(1))(call)
    assert clock.monotonic() - began <= limits.START_PATIENCE_SECONDS
    assert len(made) > 10
