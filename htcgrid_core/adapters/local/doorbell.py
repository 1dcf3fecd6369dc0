"""Doorbells as named pipes: a listener makes one under its topic's folder, a ring writes a byte to each.

A named pipe has no limit on its path's length (a Unix socket has 104 to 108 bytes), coalesces rings by itself,
and tells by ENXIO that its listener is gone.
"""

from __future__ import annotations

import errno
import os
import secrets
import select
from pathlib import Path

from htcgrid_core.domain.errors import GridUnavailable


class FifoBell:
    """A listener with one named pipe in each topic's folder, all read by one poll object."""

    def __init__(self, folders: list[Path]) -> None:
        self._paths: list[Path] = []
        self._fds: list[int] = []
        self._pid = os.getpid()
        self._poll = select.epoll() if hasattr(select, "epoll") else None
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = folder / f"{self._pid}-{secrets.token_hex(4)}"
            self._paths.append(path)
            os.mkfifo(path, 0o600)
            # Read and write: with a writer of our own the pipe never reports end-of-file.
            fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            self._fds.append(fd)
            if self._poll is not None:
                self._poll.register(fd, select.EPOLLIN)

    @property
    def is_own(self) -> bool:
        """Whether this process made it: a forked child must not read its parent's."""
        return self._pid == os.getpid()

    def fileno(self) -> int:
        """Readable once rung."""
        return self._poll.fileno() if self._poll is not None else self._fds[0]

    def wait(self, timeout_seconds: float) -> bool:
        """Wait until rung, and clear; False if the time ran out."""
        seconds = max(0.0, timeout_seconds)
        if self._poll is not None:  # select refuses descriptors over 1023, which a process with many connections has
            rung = bool(self._poll.poll(seconds))
        else:
            rung = bool(select.select(self._fds, [], [], seconds)[0])
        if rung:
            self.clear()
        return rung

    def clear(self) -> None:
        """Forget past rings."""
        for fd in self._fds:
            try:
                while len(os.read(fd, 4096)) == 4096:
                    pass
            except BlockingIOError:
                pass

    def close(self) -> None:
        """Stop listening; a forked child gives back its descriptors, and its parent goes on."""
        paths, self._paths = self._paths, []
        fds, self._fds = self._fds, []
        if self.is_own:
            for path in paths:
                path.unlink(missing_ok=True)
        for fd in fds:
            os.close(fd)
        if self._poll is not None:
            self._poll.close()

    def __del__(self) -> None:
        if getattr(self, "_paths", None):  # it was made, and not closed
            self.close()


class FifoDoorbell:
    """All listeners below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)

    def listen(self, *topics: str) -> FifoBell:
        """A bell for these topics.

        Raises:
            GridUnavailable: its pipe cannot be made.
        """
        try:
            return FifoBell([Path(self._folder, topic) for topic in topics])
        except OSError as error:
            raise GridUnavailable(f"nobody can wait on this grid: {error}") from error

    def ring(self, *topics: str) -> None:
        """Wake every listener of these topics; those whose process is gone are removed."""
        for topic in topics:
            folder = f"{self._folder}/{topic}"
            try:
                names = os.listdir(folder)
            except OSError:  # nobody has ever listened; or no descriptor is left: a ring never fails
                continue
            for name in names:
                _ring(f"{folder}/{name}")


def _ring(path: str) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno == errno.ENXIO and not _alive(path):  # no reader: its process died
            Path(path).unlink(missing_ok=True)
        return
    try:
        os.write(fd, b"!")
    except (BlockingIOError, BrokenPipeError):
        pass  # full, so it is already ringing; or its listener left just now
    finally:
        os.close(fd)


def _alive(path: str) -> bool:
    """Whether the process that made a pipe still runs: it may be between making and opening it."""
    try:
        os.kill(int(path.rpartition("/")[2].split("-")[0]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
