"""Batches of ten, of which AWS may accept a part: what failed is sent again, by itself."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from htcgrid_core.domain.errors import GridError, GridUnavailable

BATCH = 10
TRIES = 4
BASE_SECONDS = 0.05
THREADS = 4  # more wait for each other's interpreter lock rather than for AWS

Entry = dict[str, Any]
Call = Callable[[Sequence[Entry]], Mapping[str, Any]]

_rng = random.SystemRandom()


def send_all(call: Call, entries: Sequence[Entry], resource: str) -> None:
    """Send entries of any number, each at least once.

    Args:
        call: sends up to ten entries, which have their ``Id`` then, and returns AWS's answer.
        resource: what is sent to, for people.

    Raises:
        GridUnavailable: some were refused again and again; send all once more.
        GridError: some will never be accepted.
    """
    batches = [entries[at : at + BATCH] for at in range(0, len(entries), BATCH)]
    if len(batches) <= 2:
        for batch in batches:
            _send(call, batch, resource)
        return
    with ThreadPoolExecutor(min(THREADS, len(batches)), thread_name_prefix="htcgrid-send") as pool:
        for done in [pool.submit(_send, call, batch, resource) for batch in batches]:
            done.result()


def _send(call: Call, batch: Sequence[Entry], resource: str) -> None:
    left: Sequence[Entry] = batch
    said = ""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(_rng.uniform(0.0, BASE_SECONDS * 4.0**attempt))
        numbered = [{**entry, "Id": str(number)} for number, entry in enumerate(left)]
        failed = call(numbered).get("Failed", ())
        if not failed:
            return
        refused = [entry for entry in failed if entry.get("SenderFault")]
        if refused:
            raise GridError(f"{resource} refuses a message: {refused[0].get('Code')}: {refused[0].get('Message', '')}")
        said = f"{failed[0].get('Code')}: {failed[0].get('Message', '')}"
        left = [left[int(entry["Id"])] for entry in failed]
    raise GridUnavailable(f"{resource} accepted only a part of a batch, {TRIES} times ({said}); try again")
