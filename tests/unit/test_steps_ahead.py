"""Large steps of a submission are stored in threads, and written in their order by whoever submits."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from htcgrid_core.services.steps_ahead import STEPS_AHEAD, StepsAhead


def test_steps_are_written_in_their_order() -> None:
    written, may_end = list[tuple[int, str]](), threading.Event()

    def store(number: int) -> int:
        if number == 0:
            assert may_end.wait(30), "nobody stores the second while the first is stored"
        elif number == 1:
            may_end.set()
        return number

    with StepsAhead[int, str](lambda stored, told: written.append((stored, told))) as steps:
        for number in range(6):
            steps.add(partial(store, number), f"step {number}", is_large=number < 5)
            assert len(written) >= number - STEPS_AHEAD, "no more are held"
        steps.finish()
    assert written == [(number, f"step {number}") for number in range(6)]


def test_a_small_step_is_stored_by_who_submits() -> None:
    where = list[int]()
    with StepsAhead[None, None](lambda *_: None) as steps:
        steps.add(lambda: where.append(threading.get_ident()), None, is_large=False)
        steps.add(lambda: where.append(threading.get_ident()), None, is_large=True)
        steps.finish()
    assert where[0] == threading.get_ident() != where[1]


@pytest.mark.parametrize("is_large", [True, False])
def test_nothing_is_written_behind_what_could_not_be_stored(is_large: bool) -> None:
    written = list[int]()

    def fail() -> int:
        raise OSError("no room")

    with StepsAhead[int, None](lambda stored, _: written.append(stored)) as steps:
        steps.add(lambda: 0, None, is_large=True)
        with pytest.raises(OSError, match="no room"):  # noqa: PT012 - by the step itself, or by one behind it
            steps.add(fail, None, is_large=is_large)
            steps.add(lambda: 2, None, is_large=True)
            steps.finish()
    assert written == [0]
