"""A process and those that it started, as /proc knows them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PEAK = re.compile(r"^VmHWM:\s*(\d+) kB$", re.MULTILINE)


def family(pid: int) -> Iterator[int]:
    """A process and its descendants, as far as they can be seen."""
    waiting = [pid]
    while waiting:
        each = waiting.pop()
        yield each
        with suppress(OSError):  # it has ended
            for thread in os.listdir(f"/proc/{each}/task"):
                with suppress(OSError), open(f"/proc/{each}/task/{thread}/children", encoding="ascii") as children:
                    waiting += map(int, children.read().split())


def peak_mb(pid: int) -> int | None:
    """The memory that a process and its descendants have had at their peaks, in MiB; None where nobody says."""
    found = [peak for each in family(pid) if (peak := _peak_kb(each))]
    return -(-sum(found) // 1024) if found else None


def resident_bytes(pid: int) -> int | None:
    """The memory that a process and its descendants have now; None where nobody says.

    What several of them share, such as libraries, is counted in each.
    """
    found = [pages for each in family(pid) if (pages := _resident_pages(each))]
    return sum(found) * _PAGE_BYTES if found else None


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and its descendants, those that have ended included; 0 where nobody says."""
    return sum(_ticks(each) for each in family(pid)) / _TICKS_A_SECOND


def _ticks(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()  # a name may hold anything
        return sum(map(int, fields[11:15]))  # utime, stime, cutime and cstime, proc(5)
    except (OSError, ValueError):  # it has ended, or there is no /proc
        return 0


def _resident_pages(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1])
    except OSError:  # it has ended, or there is no /proc
        return 0


def _peak_kb(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as status:
            told = _PEAK.search(status.read())
    except OSError:  # it has ended, or there is no /proc
        return 0
    return int(told[1]) if told else 0
