"""Ranges that an earlier run cut: their records, read again as they were."""

from __future__ import annotations

import threading

from htcgrid_core.data.streams.journal import Range
from htcgrid_core.ports.stream import CursorExpired, RecordsGone, StreamReader, StreamRecord


def read_again(reader: StreamReader, one: Range, stop: threading.Event) -> list[StreamRecord] | None:
    """The records of a range; None if the stream does not have them all any more, or it was stopped.

    Raises:
        GridUnavailable, AccessDenied: of the stream.
    """
    if one.partition not in {there.name for there in reader.partitions()}:
        return None
    try:
        return _read_again(reader, one, stop)
    except RecordsGone:
        return None


def _read_again(reader: StreamReader, one: Range, stop: threading.Event) -> list[StreamRecord] | None:
    found: list[StreamRecord] = []
    cursor = reader.cursor(one.partition, at=one.first, since=None)
    while cursor is not None and len(found) < one.records:
        if stop.is_set():
            return None
        try:
            page = reader.read(cursor, one.records - len(found))
        except CursorExpired:
            last = found[-1].position if found else None
            cursor = reader.cursor(one.partition, at=None if last else one.first, after=last, since=None)
            continue
        found.extend(page.records)
        cursor = page.cursor
        if found and found[0].position != one.first:
            return None
        if not page.records and page.behind_seconds == 0:
            break
        stop.wait(reader.pause_seconds)
    if len(found) == one.records and (found[0].position, found[-1].position) == (one.first, one.last):
        return found
    return None
