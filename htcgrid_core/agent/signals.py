"""Signals of a process that was just started: as the system has them, whatever whoever started it ignores or blocks.

What is ignored or blocked is inherited through all that is started, and the first submitter starts the agent.
"""

from __future__ import annotations

import signal

_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


def reset_signals() -> None:
    """Have this process, and so what it starts, ignore and block nothing but what Python itself ignores."""
    for number in signal.valid_signals():
        if number not in _IGNORED_BY_PYTHON and signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def leave_python() -> None:
    """Before this process becomes a program that need not be Python."""
    for number in _IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)
