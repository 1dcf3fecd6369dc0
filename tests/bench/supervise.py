"""The parent of one case: adopts its orphans, and ends whatever the case leaves behind.

As the "child subreaper" of everything below it (Linux), it keeps daemons that detach themselves in the case's
process tree. That makes their CPU time measurable and their end certain.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time

import psutil

PR_SET_CHILD_SUBREAPER = 36
GRACE_S = 5.0
TICK_S = 0.05


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def reap_until(pid: int) -> None:
    """Wait for the case, and reap orphans meanwhile."""
    while True:
        ended, _ = os.waitpid(-1, 0)
        if ended == pid:
            return


def end_descendants() -> None:
    """Ask the rest to stop, wait a little, then kill it."""
    me = psutil.Process()
    give_up = time.monotonic() + GRACE_S
    while rest := me.children(recursive=True):
        late = time.monotonic() > give_up
        for process in rest:
            try:
                (process.kill if late else process.terminate)()
            except psutil.NoSuchProcess:
                continue
        reap()
        time.sleep(TICK_S if late else 1.0)


def reap() -> None:
    """Reap every child that has ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def main(arguments: list[str]) -> None:
    """Run a module with its arguments."""
    adopt_orphans()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    case = subprocess.Popen([sys.executable, "-m", *arguments])
    signal.signal(signal.SIGTERM, lambda *_: case.kill())
    try:
        reap_until(case.pid)
    finally:
        end_descendants()


if __name__ == "__main__":
    main(sys.argv[1:])
