"""What a task prints: the worker's descriptors 1 and 2 are unlinked files, read and emptied after each task."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile

from htcgrid_core.codecs.cut_text import end_of
from htcgrid_core.domain.limits import ATTEMPT_TEXT_BYTES, CAPTURE_BYTES, CAPTURE_DISK_BYTES

REST = (1 << 31) - 1  # an offset that every file system allows
assert REST > 2 * CAPTURE_DISK_BYTES


def capture_file() -> int:
    """A descriptor of an unlinked file that is appended to."""
    fd, path = tempfile.mkstemp(prefix="htcgrid-")
    os.close(fd)
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    os.unlink(path)
    return fd


def take(fd: int) -> str:
    """What was written since the last call; of much, the first and the last part. Empties the file."""
    size = os.fstat(fd).st_size
    if not size:
        return ""
    if size <= CAPTURE_BYTES:
        data = os.pread(fd, size, 0)
    else:
        half = CAPTURE_BYTES // 2
        note = f"\n... {size - 2 * half:,} bytes left out ...\n".encode()
        data = os.pread(fd, half, 0) + note + os.pread(fd, half, size - half)
    os.ftruncate(fd, 0)
    return data.decode("utf-8", "replace")


def last_of(fd: int) -> str:
    """The end of what the task that runs has written; leaves it there."""
    size = os.fstat(fd).st_size
    start = max(0, size - ATTEMPT_TEXT_BYTES - 1)  # with one byte more, by which it is known to be cut
    return end_of(os.pread(fd, size - start, start), ATTEMPT_TEXT_BYTES) if size else ""


def bound(fd: int) -> None:
    """Empty the file if a running task has filled it beyond measure."""
    if os.fstat(fd).st_size > CAPTURE_DISK_BYTES:
        os.ftruncate(fd, 0)
        with contextlib.suppress(OSError):  # a disk that the task has filled has no room for the note either
            os.write(fd, f"... over {CAPTURE_DISK_BYTES:,} bytes left out ...\n".encode())


class Stream:
    """An output stream of this process, a worker, as its tasks leave it: one may have closed or replaced it.

    The file is appended to wherever its offset is, and each write moves that to the end. So as long as the offset is
    still where it was put, which no written file reaches, ``fd`` is the file it was, and nothing was printed: that
    takes a quarter of the time of asking for size and inode.
    """

    def __init__(self, name: str, fd: int) -> None:
        self._name = name
        self._fd = fd
        self._own = getattr(sys, name)
        self._file = os.dup(fd)  # whatever a task does to ``fd``, even open another file under its number
        self._inode = os.fstat(fd).st_ino
        os.lseek(self._file, REST, os.SEEK_SET)

    def take(self) -> str:
        """What was printed since the last call; mends the stream for the next task.

        Raises:
            OSError: a task has closed what is not its own.
        """
        try:
            getattr(sys, self._name).flush()
            if os.lseek(self._fd, 0, os.SEEK_CUR) == REST:
                return ""  # as nearly every task leaves it
            intact = os.fstat(self._fd).st_ino == self._inode
        except BaseException:  # noqa: BLE001 - closed, None, or an object of the task's own making
            intact = False
        if not intact:
            os.dup2(self._file, self._fd)
            stream = open(self._fd, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
            stream.reconfigure(line_buffering=getattr(self._own, "line_buffering", False))
            self._own = stream
            setattr(sys, self._name, stream)
            setattr(sys, f"__{self._name}__", stream)
        printed = take(self._file)
        os.lseek(self._file, REST, os.SEEK_SET)
        return printed
