"""Repeat a call whose fate is unknown. Every port call that services make is safe to repeat with the same arguments."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.domain.patience import Patience
from htcgrid_core.ports.bundle_queue import Message
from htcgrid_core.ports.plane import Plane

T = TypeVar("T")
_log = logging.getLogger(__name__)

TRIES = 4
BASE_SECONDS = 0.05


def with_retries(plane: Plane, call: Callable[[], T]) -> T:
    """Return what ``call`` returns, trying again after GridUnavailable with full jitter.

    Raises:
        GridUnavailable: it failed four times.
    """
    for attempt in range(1, TRIES):
        try:
            return call()
        except GridUnavailable as error:
            _log.info("tried again: %s", error, extra={"tries": attempt})
            plane.clock.sleep(plane.rng.uniform(0.0, BASE_SECONDS * 4.0**attempt))
    return call()


def patience_of(plane: Plane) -> Patience:
    """For reads that nobody wants to begin again, since much was read before."""
    return Patience(monotonic=plane.clock.monotonic, sleep=plane.clock.sleep, say=_log.warning)


def delete_message(plane: Plane, message: Message) -> None:
    """Delete a message whose bundle is over; one that stays comes again, and is found to be over again."""
    try:
        plane.queue.delete([message])
    except GridUnavailable as error:
        _log.info("a message of a bundle that is over stays for now: %s", error)
