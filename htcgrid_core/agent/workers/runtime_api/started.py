"""The process of a worker that speaks the Runtime API, and the port that is its own."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
from dataclasses import dataclass

from htcgrid_core.agent.workers import captured_output
from htcgrid_core.agent.workers.launch import TROUBLE_VARIABLE
from htcgrid_core.agent.workers.pidfd import open_pidfd
from htcgrid_core.agent.workers.runtime_api import commands
from htcgrid_core.agent.workers.runtime_api.connections import CONNECTIONS
from htcgrid_core.ports.worker import FunctionRef

END_SECONDS = 0.05  # that a process may take to be seen to end after its connections have


@dataclass(frozen=True, slots=True)
class Started:
    """A process with a port.

    Attributes:
        stdout, stderr: files of what it prints.
        trouble: a pipe from which is read why its package could not be unpacked here.
        pidfd: readable once it has ended; negative where there are none.
    """

    popen: subprocess.Popen[bytes]
    listener: socket.socket
    stdout: int
    stderr: int
    trouble: int
    pidfd: int

    @classmethod
    def start(cls, function: FunctionRef, threads_each: int | None = None) -> Started:
        """Start one.

        Raises:
            OSError: this machine cannot.
        """
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as passed:
            listener = undo.enter_context(socket.create_server(("127.0.0.1", 0), backlog=CONNECTIONS))
            listener.setblocking(False)
            undo.callback(os.close, stdout := captured_output.capture_file())
            undo.callback(os.close, stderr := captured_output.capture_file())
            trouble, told = os.pipe()
            undo.callback(os.close, trouble)
            passed.callback(os.close, told)
            os.set_blocking(trouble, False)
            environment = commands.environment(function, _address(listener), threads_each)
            popen = subprocess.Popen(
                [*function.launcher, *commands.command(function)],
                env={**environment, TROUBLE_VARIABLE: str(told)},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                pass_fds=(told,),
                start_new_session=True,
            )
            pidfd = open_pidfd(popen.pid)
            undo.pop_all()
        return cls(popen, listener, stdout, stderr, trouble, pidfd)

    @property
    def address(self) -> str:
        """Of its port."""
        return _address(self.listener)

    def kill(self) -> None:
        """Kill it and its children."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # already gone
            os.killpg(self.popen.pid, signal.SIGKILL)

    def is_dead(self) -> bool:
        """Whether it has ended, seen or not: it is given nothing then."""
        return os.waitid(os.P_PID, self.popen.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def is_ending(self) -> bool:
        """Whether it has ended, or does so now."""
        if self.pidfd >= 0:
            ended = select.poll()
            ended.register(self.pidfd, select.POLLIN)
            ended.poll(1000 * END_SECONDS)
        return self.is_dead()

    def machines_fault(self) -> str:
        """Why this machine could not make a worker of the process that has ended; empty if it could."""
        try:
            return os.read(self.trouble, 4096).decode("utf-8", "replace")
        except BlockingIOError:  # a child of it lives, to which the pipe was passed
            return ""

    def take_output(self) -> tuple[str, str]:
        """What it printed to stdout and stderr since the last call."""
        return captured_output.take(self.stdout), captured_output.take(self.stderr)

    def bound_output(self) -> None:
        """Drop what it printed beyond measure."""
        captured_output.bound(self.stdout)
        captured_output.bound(self.stderr)

    def close(self) -> int:
        """Kill it, if it lives, and let go of all that it had; returns how it ended."""
        self.kill()  # before it is reaped: until then its process group cannot be another's
        returncode = self.popen.wait()
        self.listener.close()
        for fd in (self.stdout, self.stderr, self.trouble, self.pidfd):
            if fd >= 0:
                os.close(fd)
        return returncode


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()
    return f"{host}:{port}"
