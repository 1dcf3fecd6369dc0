"""Waiting in a worker for a session's end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from htcgrid_airflow.report import progress_line
from htcgrid_core import CredentialsExpired, GridError, GridUnavailable, Patience, Progress, Session, WaitTimeout


def wait_for_end(
    session: Session,
    log: Any,
    *,
    poll_interval: float,
    log_interval: float,
    sleep: Callable[[float], None] = time.sleep,
) -> Progress:
    """Wait, with a line of progress now and then; a grid that is away is waited for too, while patience lasts.

    Args:
        poll_interval: seconds until a grid that could not be reached is tried again.
        log_interval: seconds between two lines.
    """
    patience = new_patience(log, f"session {session.id}", sleep=sleep)
    while True:
        try:
            with contextlib.suppress(WaitTimeout):
                return session.wait(timeout=log_interval)
            log.info(progress_line(session.progress()))
            patience.rewarded()
        except GridError as error:
            patience.bear(error)
            sleep(poll_interval)


def ends_within(session: Session, seconds: float) -> bool:
    """Whether the session ends before that; a worker's wait costs less than two more starts of one."""
    with contextlib.suppress(WaitTimeout, GridUnavailable, CredentialsExpired):
        return session.wait(timeout=seconds).ended
    return False


def new_patience(
    log: Any, what: str, *, sleep: Callable[[float], None] = time.sleep, now: Callable[[], float] = time.monotonic
) -> Patience:
    """Of one who waits for a session, or for what else ``what`` names, and tells the task's log what is borne."""
    return Patience(
        monotonic=now, sleep=sleep, say=lambda text: log.warning("The grid is away, %s is waited for: %s", what, text)
    )
