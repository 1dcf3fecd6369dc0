"""Events that are all checked before the first is submitted: meanwhile what is over a few megabytes is on disk."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import IO

from htcgrid_core.codecs.event_checks import EventCheck
from htcgrid_core.codecs.events import EncodedEvent, data_of
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GridUnavailable


def checked_first(events: Iterable[EncodedEvent], check: EventCheck) -> Iterator[EncodedEvent]:
    """The same events, of which the first comes once all have passed.

    Raises:
        InvalidEvents: some did not; all were looked at.
        GridUnavailable: this machine's disk has no room for them.
    """
    if isinstance(events, list | tuple):
        good: Iterable[EncodedEvent] = list(check.passed(events))
        check.conclude()
        yield from good
        return
    with ExitStack() as stack:
        file: IO[bytes] | None = None
        some: list[EncodedEvent] = []
        size = 0
        for event in check.passed(events):
            some.append(event)
            size += len(data_of(event)) + 64
            if size >= limits.SUBMIT_BUFFER_BYTES:
                file = file or stack.enter_context(_unnamed())
                _write(some, file)
                some, size = [], 0
        check.conclude()
        if file is not None:
            last, end = some, file.tell()
            file.seek(0)
            while file.tell() < end:
                yield from pickle.load(file)  # noqa: S301 - written above, into a file without a name
            some = last
        yield from some


def _unnamed() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise _no_room(error) from error


def _write(events: list[EncodedEvent], file: IO[bytes]) -> None:
    try:
        pickle.dump(events, file, protocol=5)
        file.flush()
    except OSError as error:
        raise _no_room(error) from error


def _no_room(error: OSError) -> GridUnavailable:
    return GridUnavailable(
        f"the session was not submitted: while its events are checked they are kept in {tempfile.gettempdir()}, which "
        f"cannot be ({error}): make room there, say another place by TMPDIR, or submit it unchecked, validate='off'"
    )
