"""Agents that were enough once are asked by their locks alone, until one ends or another begins."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from htcgrid_core.local import agent_locks, agent_terms
from htcgrid_core.local.agent_processes import enough_agents
from htcgrid_core.local.agent_terms import RunningAgent
from htcgrid_core.local.directory import Directory
from htcgrid_core.local.fleet import Fleet


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    found = Directory(tmp_path / "grid")
    found.prepare()
    return found


def begin(directory: Directory, number: int, slots: int = 2) -> ExitStack:
    """An agent, as others find it; it ends with what is returned."""
    own = RunningAgent(number, os.getpid(), slots, None, {})
    held = ExitStack()
    assert held.enter_context(agent_locks.held(directory, number, partial(agent_terms.publish, directory.agents, own)))
    return held


def test_one_that_goes_on_is_there(directory: Directory) -> None:
    with begin(directory, 0):
        enough = enough_agents(directory, Fleet(agents=1, slots=2))
        assert enough is not None
        assert enough.are_there(directory)


def test_none_and_too_few_are_not_enough(directory: Directory) -> None:
    assert enough_agents(directory, Fleet()) is None
    with begin(directory, 0):
        assert enough_agents(directory, Fleet(agents=2, slots=2)) is None
        assert enough_agents(directory, Fleet(agents=1, slots=3)) is None


def test_one_that_ended_is_not_there(directory: Directory) -> None:
    other = begin(directory, 1)
    with begin(directory, 0):
        enough = enough_agents(directory, Fleet(agents=2, slots=2))
        assert enough is not None
        other.close()
        assert not enough.are_there(directory)


def test_one_that_began_since_is_looked_at(directory: Directory) -> None:
    """It may run with what was not asked for, and whoever submits is told so."""
    with begin(directory, 0):
        enough = enough_agents(directory, Fleet(agents=1, slots=2))
        assert enough is not None
        before = directory.agents.stat().st_mtime_ns
        while directory.agents.stat().st_mtime_ns == before:  # as coarse as the kernel's clock
            begin(directory, 1).close()
        assert not enough.are_there(directory)


def test_a_folder_that_is_gone_is_looked_at(directory: Directory) -> None:
    with begin(directory, 0):
        enough = enough_agents(directory, Fleet(agents=1, slots=2))
    assert enough is not None
    directory.agents.rename(directory.root / "elsewhere")
    assert not enough.are_there(directory)
