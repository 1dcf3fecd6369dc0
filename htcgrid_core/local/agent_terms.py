"""What agents of an embedded grid run with, in a file beside each one's lock; who asks for longer says so there."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from htcgrid_core.agent.variables import NATIVE_VARIABLE, PASS_MORE
from htcgrid_core.domain.pool import DEFAULT_POOL, PoolSize
from htcgrid_core.local.settings import VARIABLES

SETTINGS = (*VARIABLES, PASS_MORE, NATIVE_VARIABLE)  # numbers and names, no secret is among them


@dataclass(frozen=True, slots=True)
class RunningAgent:
    """An agent that runs.

    Attributes:
        number: of its lock.
        slots: tasks that it runs at once; None if it does not say, as those of earlier releases.
        idle_seconds: without work, after which it leaves; None if it stays.
        settings: variables that it was started with, empty if not; None if it does not say.
        size: its pool, and what each of its slots has.
    """

    number: int
    pid: int
    slots: int | None = None
    idle_seconds: float | None = None
    settings: Mapping[str, str] | None = None
    size: PoolSize = DEFAULT_POOL


def publish(folder: Path, agent: RunningAgent) -> None:
    """Write what an agent runs with, whole or not at all."""
    told = {
        "pid": agent.pid,
        "slots": agent.slots,
        "idle_seconds": agent.idle_seconds,
        "settings": dict(agent.settings or {}),
        "size": [agent.size.pool, agent.size.memory_mb, agent.size.cpus],
    }
    beside = folder / f".{agent.number}.{os.getpid()}"
    beside.write_text(json.dumps(told))
    beside.replace(_path(folder, agent.number))


def read(folder: Path, number: int, pid: int) -> RunningAgent:
    """What the agent with this process id runs with, as far as it says so."""
    told: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        told = json.loads(_path(folder, number).read_text())
    if not isinstance(told, dict) or told.get("pid") != pid or not isinstance(told.get("slots"), int):
        return RunningAgent(number, pid)
    size = PoolSize(*told.get("size", ["default"]))
    return RunningAgent(number, pid, told["slots"], told.get("idle_seconds"), told.get("settings"), size)


def lengthen(folder: Path, agent: RunningAgent, idle_seconds: float) -> None:
    """Ask an agent to stay for longer; it never leaves sooner for this."""
    if agent.slots is not None and agent.idle_seconds is not None and agent.idle_seconds < idle_seconds:
        publish(folder, replace(agent, idle_seconds=idle_seconds))


def settings_of(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings that an agent reads from its environment."""
    return {name: environment.get(name, "") for name in SETTINGS}


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number}.json"
