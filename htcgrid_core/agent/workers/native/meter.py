"""What this process uses of memory and processors, asked of the kernel in some microseconds."""

from __future__ import annotations

import os
import resource


def forget_peak() -> None:
    """The highest use of memory counts anew from now on, where the kernel lets it."""
    # Opened each time: a task may close any descriptor, and get its number for a file of its own.
    try:
        fd = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.write(fd, b"5")  # of VmHWM alone, proc(5)
    except OSError:
        pass  # then the peak is the process's since it began
    finally:
        os.close(fd)


def peak_mb() -> float:
    """The most memory that was resident, MiB; 0 where nobody says."""
    try:
        fd = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0.0
    try:
        told = os.read(fd, 1 << 13)
    except OSError:
        return 0.0
    finally:
        os.close(fd)
    at = told.find(b"VmHWM:")
    return 0.0 if at < 0 else int(told[at + 6 :].split(None, 1)[0]) / 1024


def cpu_seconds() -> float:
    """Processor time of all threads, and of child processes that have ended."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
