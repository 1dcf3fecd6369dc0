"""Locks by which the embedded grid's agents are found: an agent holds its own, and the kernel frees it when it dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator

from htcgrid_core.local import agent_terms
from htcgrid_core.local.agent_terms import RunningAgent
from htcgrid_core.local.directory import Directory

PROBE_SECONDS = 0.2  # longer than anyone who only looks holds a lock


@contextlib.contextmanager
def held(directory: Directory, number: int, announce: Callable[[], object] = lambda: None) -> Iterator[bool]:
    """Hold an agent's advisory lock, as that agent; False if another process does.

    Args:
        announce: called before others can find the agent by its process id.
    """
    fd = os.open(path_of(directory, number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        taken = _flock(fd, fcntl.LOCK_EX)
        deadline = time.monotonic() + PROBE_SECONDS
        while not taken and time.monotonic() < deadline:
            time.sleep(0.005)  # a client may just be looking whether it is taken
            taken = _flock(fd, fcntl.LOCK_EX)
        if taken:
            os.ftruncate(fd, 0)
            announce()
            os.write(fd, str(os.getpid()).encode())
        yield taken
    finally:
        os.close(fd)


def is_held(path: str) -> bool:
    """Look at a lock, with a shared one: those who look never take each other for the agent, nor write its pid."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _flock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def running(directory: Directory) -> list[RunningAgent]:
    """The agents that run, by their numbers.

    Raises:
        OSError: the directory cannot be read.
    """
    found = []
    for path in directory.agents.glob("*.lock"):
        deadline = time.monotonic() + PROBE_SECONDS
        while is_held(str(path)):
            number = int(path.stem)
            with contextlib.suppress(ValueError):  # it has just begun, and not written its pid
                found.append(agent_terms.read(directory.agents, number, int(path.read_text())))
                break
            if time.monotonic() > deadline:
                break
            time.sleep(0.002)
    return sorted(found, key=lambda agent: agent.number)


def _flock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def path_of(directory: Directory, number: int) -> str:
    """The file of an agent's lock."""
    return f"{directory.agents}/{number}.lock"
