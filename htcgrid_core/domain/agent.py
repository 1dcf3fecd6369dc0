"""Agents as others see them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BegunTask:
    """A task that an agent's worker was running when the agent last spoke.

    Attributes:
        started_at: wall clock (s).
        stdout, stderr: the last of what it had printed; empty where agents do not tell.
        attempt: the number of its execution, from 1; 0 if agents do not tell, as those of the release before do not.
        slot: on which it runs, from 0; those that are lent while tasks wait for others have the numbers behind the
            agent's own. None if agents do not tell.
        memory_bytes: resident, of that slot's worker and the processes that it has started; None where nobody says.
    """

    session_id: str
    index: int
    started_at: float
    stdout: str = ""
    stderr: str = ""
    attempt: int = 0
    slot: int | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class AgentMemory:
    """What an agent takes of memory, and what it may; None where nobody says.

    Attributes:
        used_bytes: resident, of its process and of those that descend from it, its workers. Pages that several of them
            share are counted in each.
        limit_bytes: of its container, or of the machine if that has less.
    """

    used_bytes: int | None = None
    limit_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class AgentRecord:
    """What an agent last said of itself.

    Attributes:
        problem: why its workers cannot start, if so.
        begun: of the tasks that it holds, those that have begun; None if it does not tell, as agents of the release
            before do not, nor those that run very many.
        started_at: wall clock (s) since which it runs; None if it does not tell, as agents of earlier releases.
        memory_bytes, memory_limit_bytes: see AgentMemory; None where nobody says, as agents of earlier releases.
    """

    agent_id: str
    pool: str
    host: str
    pid: int
    slots: int
    busy: int
    beat_at: float
    problem: str = ""
    begun: tuple[BegunTask, ...] | None = None
    started_at: float | None = None
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None


def begun_as_text(begun: Sequence[BegunTask] | None) -> str | None:
    """As every kind of grid stores it; sessions are named once."""
    if begun is None:
        return None
    by_session: dict[str, list[list[object]]] = {}
    for task in begun:
        told = [
            task.index, round(task.started_at, 3), task.stdout, task.stderr, task.attempt, task.slot, task.memory_bytes,
        ]  # fmt: skip
        by_session.setdefault(task.session_id, []).append(told)
    return json.dumps(by_session, separators=(",", ":"))


def begun_of_text(text: str | None) -> tuple[BegunTask, ...] | None:
    """Undo ``begun_as_text``; what cannot be read is not told."""
    if text is None:
        return None
    try:
        return tuple(_begun(session_id, *told) for session_id, tasks in json.loads(text).items() for told in tasks)
    except (ValueError, TypeError, AttributeError):
        return None


def _begun(
    session_id: str,
    index: int,
    started_at: float,
    stdout: str = "",
    stderr: str = "",
    attempt: int = 0,
    slot: int | None = None,
    memory_bytes: int | None = None,
    *_: object,
) -> BegunTask:
    return BegunTask(
        session_id, int(index), float(started_at), str(stdout), str(stderr), int(attempt),
        None if slot is None else int(slot), None if memory_bytes is None else int(memory_bytes),
    )  # fmt: skip
