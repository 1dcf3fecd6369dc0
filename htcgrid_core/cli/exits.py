"""Exit codes: what a script can rely on, and which error gives which."""

from __future__ import annotations

from enum import IntEnum

import click

from htcgrid_core.domain import errors
from htcgrid_core.domain.printable import printable


class Exit(IntEnum):
    """How a command ended."""

    OK = 0
    FAILED = 1
    BAD_INPUT = 2
    UNAVAILABLE = 3
    NOT_FOUND = 4
    TIMEOUT = 5
    BUG = 70
    INTERRUPTED = 130
    BROKEN_PIPE = 141


MEANINGS = {
    Exit.OK: "done; a session that was waited for is COMPLETED",
    Exit.FAILED: "the session ended FAILED or CANCELLED, or doctor found a problem",
    Exit.BAD_INPUT: "bad input or usage; nothing was submitted",
    Exit.UNAVAILABLE: "the grid cannot be used: unreachable, damaged, of another version",
    Exit.NOT_FOUND: "no such session or task",
    Exit.TIMEOUT: "the time to wait is over; what was waited for goes on",
    Exit.BUG: "a bug in htcgrid, with its traceback on stderr",
    Exit.INTERRUPTED: "interrupted by Ctrl-C",
    Exit.BROKEN_PIPE: "whoever read the output went away, as after `| head`",
}

_CODES: tuple[tuple[type[errors.GridError], Exit], ...] = (  # the first that fits
    (errors.SessionFailed, Exit.FAILED),
    (errors.TaskFailed, Exit.FAILED),
    (errors.IllegalTransition, Exit.FAILED),  # cancelled or aborted while it was submitted
    (errors.SessionNotFound, Exit.NOT_FOUND),
    (errors.WaitTimeout, Exit.TIMEOUT),
    (errors.InvalidInput, Exit.BAD_INPUT),
    (errors.SessionConflict, Exit.BAD_INPUT),
    (errors.SessionNotFinished, Exit.BAD_INPUT),
    (errors.SessionHeld, Exit.BAD_INPUT),
    (errors.GridError, Exit.UNAVAILABLE),  # GridUnavailable, IncompatibleGrid, CorruptPayload
)


def code_of(error: errors.GridError) -> Exit:
    """The exit code of an error of ours."""
    return next(code for kind, code in _CODES if isinstance(error, kind))


class Failure(click.ClickException):
    """An error that ends the command: ``Error: message`` on stderr and an exit code."""

    def __init__(self, message: str, code: Exit) -> None:
        super().__init__(printable(message))
        self.exit_code = int(code)  # type: ignore[misc]  # click's own is one for each class


def failure_of(error: errors.GridError) -> Failure:
    """An error of ours as the command line reports it."""
    return Failure(str(error), code_of(error))


def meanings() -> str:
    """All exit codes for ``--help``."""
    return "\n".join(f"{code:>5d}  {meaning}" for code, meaning in MEANINGS.items())
