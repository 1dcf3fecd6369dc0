"""A line to a server that can be cut and mended: a grid that goes away and comes back."""

from __future__ import annotations

import contextlib
import socket
import threading

PIECE_BYTES = 1 << 16


class Line:
    """Forwards connections from a port of this machine to another one."""

    def __init__(self, port: int, to_port: int) -> None:
        self._port, self._to_port = port, to_port
        self._lock = threading.Lock()
        self._ends: list[socket.socket] = []
        self._listening: socket.socket | None = None

    def mend(self) -> None:
        """Answer from now on."""
        listening = socket.create_server(("127.0.0.1", self._port))
        self._listening = listening
        threading.Thread(target=self._answer, args=(listening,), daemon=True).start()

    def cut(self) -> None:
        """Refuse connections, and end those there are."""
        listening, self._listening = self._listening, None
        with self._lock:
            ends, self._ends = self._ends, []
        for end in (listening, *ends):
            if end is not None:
                hang_up(end)

    def _answer(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it is cut
            while True:
                near, _ = listening.accept()
                far = socket.create_connection(("127.0.0.1", self._to_port))
                with self._lock:
                    self._ends += (near, far)
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=carry, args=(source, target), daemon=True).start()


def carry(source: socket.socket, target: socket.socket) -> None:
    """Forward what comes until either end is closed."""
    with contextlib.suppress(OSError):
        while piece := source.recv(PIECE_BYTES):
            target.sendall(piece)
    hang_up(source)
    hang_up(target)


def hang_up(end: socket.socket) -> None:
    """Wake who reads from it, too."""
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
