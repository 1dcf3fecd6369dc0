"""What an agent keeps from the processes of its own user, its workers among them: its environment and memory."""

from __future__ import annotations

import ctypes
import os
import sys

_SET_DUMPABLE = 4  # PR_SET_DUMPABLE, prctl(2)


def hide() -> None:
    """Have the kernel refuse others this process's environment, memory and descriptors; root's processes excepted.

    An agent's hold credentials and the grid's key. Variables that are deleted stay readable in /proc, as they were when
    the process began. What it starts is not concerned: a program that is executed is as open as any.

    Raises:
        OSError: the kernel did not.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"this process cannot be hidden: {os.strerror(number)}")
