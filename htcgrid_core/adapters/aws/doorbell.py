"""Doorbells within one process: AWS has none between machines, so that clients poll and agents wait at a queue."""

from __future__ import annotations

import contextlib
import os
import select

from htcgrid_core.adapters.locked import locked, new_lock


class ProcessBell:
    """A listener: a pipe, readable once it has a byte in it."""

    def __init__(self, doorbell: ProcessDoorbell, topics: tuple[str, ...]) -> None:
        self._doorbell = doorbell
        self._lock = new_lock()  # a signal handler may ring while this thread does
        self.topics = topics
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        """Readable once rung."""
        return self._read

    @locked
    def ring(self) -> None:
        """Make it readable; one that is closed or rings already is left alone."""
        if self._write >= 0:
            with contextlib.suppress(BlockingIOError):  # full: it is ringing
                os.write(self._write, b"!")

    def wait(self, timeout_seconds: float) -> bool:
        """Wait until rung, and clear; False if the time ran out."""
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        if not poll.poll(max(0.0, timeout_seconds) * 1000.0):
            return False
        self.clear()
        return True

    def clear(self) -> None:
        """Forget past rings."""
        try:
            while len(os.read(self._read, 65536)) == 65536:
                pass
        except BlockingIOError:
            pass  # empty

    def close(self) -> None:
        """Stop listening."""
        self._doorbell.leave(self)
        self._close()

    @locked
    def _close(self) -> None:
        if self._write >= 0:
            os.close(self._write)
            os.close(self._read)
            self._read = self._write = -1

    def __del__(self) -> None:
        if getattr(self, "_write", -1) >= 0:
            self.close()


class ProcessDoorbell:
    """The listeners of this process."""

    def __init__(self) -> None:
        self._bells: list[ProcessBell] = []

    def listen(self, *topics: str) -> ProcessBell:
        """A bell for these topics."""
        bell = ProcessBell(self, topics)
        self._bells.append(bell)
        return bell

    def ring(self, *topics: str) -> None:
        """Wake the listeners of these topics in this process."""
        for bell in list(self._bells):
            if not set(bell.topics).isdisjoint(topics):
                bell.ring()

    def leave(self, bell: ProcessBell) -> None:
        """A listener has closed."""
        with contextlib.suppress(ValueError):  # it had already
            self._bells.remove(bell)
