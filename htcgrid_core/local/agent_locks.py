"""Locks by which the embedded grid's agents are found: an agent holds its own, and the kernel frees it when it dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator

from htcgrid_core.local.directory import Directory

PROBE_SECONDS = 0.2  # longer than anyone who only looks holds a lock


@contextlib.contextmanager
def held(directory: Directory, number: int) -> Iterator[bool]:
    """Hold an agent's advisory lock, as that agent; False if another process does."""
    fd = os.open(_path(directory, number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        taken = _flock(fd, fcntl.LOCK_EX)
        deadline = time.monotonic() + PROBE_SECONDS
        while not taken and time.monotonic() < deadline:
            time.sleep(0.005)  # a client may just be looking whether it is taken
            taken = _flock(fd, fcntl.LOCK_EX)
        if taken:
            os.ftruncate(fd, 0)
            os.write(fd, str(os.getpid()).encode())
        yield taken
    finally:
        os.close(fd)


def is_held(directory: Directory, number: int) -> bool:
    """Look, with a shared lock: those who look never take each other for the agent, nor write its pid."""
    try:
        fd = os.open(_path(directory, number), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _flock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def _flock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _path(directory: Directory, number: int) -> str:
    return f"{directory.agents}/{number}.lock"
