"""A handler that writes to its worker's connection is a crashed worker, and harms nobody but itself."""

from __future__ import annotations

import contextlib
import os
import stat

import pytest

from htcgrid_core import Context, Grid, RetryPolicy
from htcgrid_core.agent.workers.native import wire
from htcgrid_core.agent.workers.native.wire import Kind
from htcgrid_core.codecs import outcomes as codec
from htcgrid_core.codecs.outcomes import Outcomes
from tests.e2e.support import ended, the_agent


def outcomes(serial: int) -> str:
    """A page of one outcome, whole and in order."""
    page = Outcomes()
    page.add(0, False, 1, 1.0, 0.0, b"1")
    return wire.pack_outcomes(serial, codec.pack(page)).hex()


def waits(serial: int = 2, **changed: object) -> str:
    """A task's wait, of the second chunk that its agent gives out."""
    return wire.json_message(Kind.WAITS, {"serial": serial, "position": 0, "sessions": [], **changed}).hex()


NONSENSE = {
    "an unknown kind": "00000000ff",
    "longer than anything": "ffffffff07",
    "a refusal to load that is no object": "02000000053131",
    "a refusal to load without its parts": "02000000057b7d",
    "outcomes without a serial": "0000000007",
    "outcomes that are none": "0c00000007" + "01" * 12,
    "what only an agent says": "0000000001",
    "that it has started, again": wire.message(Kind.HELLO).hex(),
    "that it has loaded what nobody asked for": wire.message(Kind.LOADED).hex(),
    "outcomes of a chunk that it was not given": outcomes(1_000_000),
    "a wait of a chunk that it was not given": waits(serial=1_000_000),
    "a wait for another tenant's session": waits(sessions=["other.s-0123456789"]),
    "a wait for what is no session": waits(sessions=["../grid.db"]),
    "a wait for more sessions than anybody waits for": waits(sessions=["s-0123456789"] * 101),
    "a wait that is none": wire.message(Kind.WAITS, b"[]").hex(),
}


def write_to_sockets(event: str, context: Context) -> None:
    """Write to every socket that this process has, which is its agent's."""
    for fd in range(3, 256):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.write(fd, bytes.fromhex(event))


@pytest.mark.parametrize("written", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_costs_the_task_its_worker(grid: Grid, grid_url: str, written: str) -> None:
    assert list(grid.submit("tests.e2e.handlers.double", [1]).results()) == [2]
    agent = the_agent(grid_url)

    session = grid.submit(f"{__name__}.write_to_sockets", [written], retry=RetryPolicy(max_attempts=1))

    assert ended(session).state == "FAILED"
    (task,) = session.tasks("FAILED")
    assert task.error is not None
    assert (task.error.type, task.error.message[:25]) == ("WorkerCrashed", "the worker wrote nonsense")
    assert list(grid.submit("tests.e2e.handlers.double", [2]).results()) == [4]
    assert the_agent(grid_url) == agent


def empty_all_files(event: int, context: Context) -> int:
    """Truncate every file that this process has open and may write to, the memory shared with its agent among them."""
    for fd in range(3, 256):
        with contextlib.suppress(OSError):
            os.ftruncate(fd, 0)
    return event


def test_an_emptied_page_does_not_end_the_agent(grid: Grid, grid_url: str) -> None:
    """Its agent reads what it runs from memory that both have; nobody can make that smaller."""
    assert list(grid.submit("tests.e2e.handlers.double", [1]).results()) == [2]
    agent = the_agent(grid_url)
    session = grid.submit(f"{__name__}.empty_all_files", range(50), task_timeout=30)
    assert list(session.results()) == list(range(50))
    assert the_agent(grid_url) == agent
