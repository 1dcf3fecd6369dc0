"""What an error's own text does not say, and names that are written for machines."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

import numpy as np
import pytest

from htcgrid_core import Grid, InvalidInput, Session
from htcgrid_core.domain.function import FunctionSpec
from tests.e2e.command_line import CommandLine


def message_of(session: Session) -> tuple[str, str]:
    session.wait()
    (task,) = session.tasks("FAILED")
    assert task.error is not None
    return task.error.text, task.error.message


def market_data(_: object) -> str:
    return os.environ["MARKET_DATA"]


def elsewhere(_: object) -> object:
    return dict[str, int]()["MARKET_DATA"]


def allocate(megabytes: int) -> None:
    bytearray(megabytes << 20)


def bare(_: object) -> None:
    raise ValueError


def test_a_variable_that_workers_do_not_see(grid: Grid) -> None:
    text, message = message_of(grid.submit(market_data, [1], retry=1))
    assert text.startswith("KeyError: 'MARKET_DATA': of its agent's variables a worker sees few")
    assert "HTCGRID_WORKER_ENV" in message
    assert message_of(grid.submit(elsewhere, [1], retry=1)) == ("KeyError: 'MARKET_DATA'", "'MARKET_DATA'")


def test_no_memory_is_no_empty_message(grid: Grid) -> None:
    text, _ = message_of(grid.submit(allocate, [10_000], retry=1, memory_mb=128))
    had = r"it needed more than the 128 MiB that it had, of which \d+ were in use at most"
    assert re.fullmatch(rf"MemoryError: no memory: {had}; raise memory_mb, or retry it in a larger pool", text), text


def test_an_error_without_a_message_has_no_colon(grid: Grid, shell: CommandLine) -> None:
    session = grid.submit(bare, [1], retry=1, name="bare")
    assert message_of(session) == ("ValueError", "")
    assert "ValueError:" not in shell.call("tasks", "bare").out
    assert "task 0: ValueError\n" in shell.call("watch", "bare").err


def shared(event: dict[str, dict[str, np.ndarray]]) -> float:
    return float(event["model"]["weights"].sum())


def given_back(event: dict[str, object]) -> str:
    return repr(event["model"])


def test_put_takes_what_is_not_json(grid: Grid) -> None:
    model = grid.put({"weights": np.ones(3)})
    assert model.codec == "pickle"
    assert list(grid.submit(shared, [{"model": model}]).results()) == [3.0]
    assert grid.put({"weights": [1, 1, 1]}).codec == "json"
    for same in ({"a": [1, 2.5, "b", True, None, {}]}, {1: 2}, (1, 2), {"a": ({1: (2,)},)}):
        (got,) = grid.submit(given_back, [{"model": grid.put(same)}]).results()
        assert got == repr(same)
    assert grid.put({1: 2}, codec="json").codec == "json"
    with pytest.raises(InvalidInput, match="a dict cannot be stored as json"):
        grid.put({"weights": np.ones(3)}, codec="json")
    with pytest.raises(InvalidInput, match="a dict cannot be stored as pickle"):
        grid.put({"lock": threading.Lock()})


def test_resubmitting_what_is_complete_says_so(grid: Grid, shell: CommandLine) -> None:
    session = grid.submit(abs, [-1], name="complete")
    session.wait()
    before = len(grid.sessions())
    ran = shell.call("resubmit", "complete", "--wait")
    assert (ran.code, ran.out) == (0, f"{session.id}\n")
    assert f"nothing of session {session.id} is left to run again: 1 of 1 tasks completed" in ran.err
    assert len(grid.sessions()) == before


@pytest.mark.parametrize(
    ("name", "title"),
    [
        (f"unusual_prefix_{'0a' * 20}_book_dag:risk.<locals>.simulate", "risk.<locals>.simulate"),
        ("__main__:price", "price"),
        ("desk.pricing:price", "desk.pricing:price"),
        ("pricing.handler", "pricing.handler"),
        ("pricing:3", "pricing:3"),
    ],
)
def test_the_name_of_a_function_for_people(name: str, title: str) -> None:
    assert FunctionSpec(name=name).title == title


def test_status_shows_it(grid: Grid, shell: CommandLine, tmp_path: Path) -> None:
    namespace = {"__name__": f"unusual_prefix_{'0a' * 20}_book_dag"}
    exec("def price(event):\n    return event", namespace)
    grid.submit(namespace["price"], [1], name="by a DAG file").wait()
    ran = shell.call("status", "by a DAG file")
    assert ran.code == 0, ran.err
    assert "unusual_prefix" not in ran.out
    assert re.search(r"^function +price *$", ran.out, re.MULTILINE)
