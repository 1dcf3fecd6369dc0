"""Waiting in the triggerer for a session's end, and saying in the task's log how far it is."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

from htcgrid_airflow.report import progress_line
from htcgrid_airflow.triggers.poller import Away, Broken, Key, Missing, Update, subscribed
from htcgrid_core import Progress

LONGEST_DELIVERY_SECONDS = 2.0
Told = tuple[str, str]  # status and message


async def end_of(
    session_id: str,
    key: Key,
    log: Any,
    *,
    poll_interval: float,
    log_interval: float,
    longest_interval: float | None = None,
) -> Told:
    """Wait for the end: "ended", "missing" or "error", and a message.

    Args:
        key: where the session is.
        log: the task's.
        poll_interval, log_interval: seconds.
        longest_interval: up to which the pauses between two looks grow; None for even ones.
    """
    loop = asyncio.get_running_loop()
    updates: asyncio.Queue[Update] = asyncio.Queue()

    is_over = False

    async def handled(update: Update) -> None:
        if not is_over:
            await updates.put(update)
            await updates.join()

    def deliver(update: Update) -> None:
        # The poller tells the next one only then: what hundreds of sessions that end together write to their tasks'
        # logs must not block the loop.
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(handled(update), loop).result(LONGEST_DELIVERY_SECONDS)

    growing = {} if longest_interval is None else {"longest": longest_interval}
    with subscribed(key, session_id, poll_interval, deliver, **growing):
        try:
            return await _told(session_id, updates, log, log_interval)
        finally:
            is_over = True
            while not updates.empty():  # what came meanwhile is for nobody, and its deliverer must not wait
                updates.get_nowait()
                updates.task_done()


async def _told(session_id: str, updates: asyncio.Queue[Update], log: Any, log_interval: float) -> Told:
    say_at = time.monotonic()
    while True:
        update = await updates.get()
        try:
            match update:
                case Progress(ended=True) as progress:
                    await _say(log.info, progress_line(progress))
                    return "ended", progress.reason
                case Progress() as progress:
                    if time.monotonic() >= say_at:
                        await _say(log.info, progress_line(progress))
                        say_at = time.monotonic() + log_interval
                case Missing():
                    return "missing", f"session {session_id} does not exist on its grid any more"
                case Away(reason):
                    line = f"The grid is away, session {session_id} is waited for all the same: {reason}"
                    await _say(log.warning, line)
                case Broken(error):
                    return "error", f"{type(error).__name__}: {error}"
        finally:
            updates.task_done()


async def _say(log: Callable[[str], object], line: str) -> None:
    """Log from a thread: a triggerer's log is a pipe to its supervisor, and a full pipe would block the loop."""
    await asyncio.to_thread(log, line)
