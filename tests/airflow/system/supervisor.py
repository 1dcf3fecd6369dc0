"""The parent of one server: ends it, and all that it started, when whoever holds the other end of its pipe is gone.

As the "child subreaper" of everything below it (Linux), it also finds what detached itself, such as the agents that
a task of Airflow starts. A test run that is killed leaves nothing behind.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

import psutil

PR_SET_CHILD_SUBREAPER = 36


def end_descendants() -> None:
    """Kill until nobody is left: who is killed may have started somebody meanwhile."""
    me = psutil.Process()
    while rest := me.children(recursive=True):
        for process in rest:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        reap()
        time.sleep(0.02)


def reap() -> None:
    """Reap every child that has ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def reap_for_ever() -> None:
    """Orphans that end must not stay as zombies: others ask whether they still run."""
    while True:
        reap()
        time.sleep(0.1)


def main(command: list[str]) -> None:
    """Run the command until the pipe at standard input is closed."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # not subprocess's own reaping: a child that ended is reaped with the orphans
    subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    threading.Thread(target=reap_for_ever, daemon=True).start()
    sys.stdin.read()
    end_descendants()


if __name__ == "__main__":
    main(sys.argv[1:])
