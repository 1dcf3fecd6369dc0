"""What a recipient is told of a session: its end with the first causes, or that it has come to a mark."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from itertools import islice
from typing import Any

from htcgrid_core.codecs.outcomes import decode_error
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import CorruptPayload, IncompatibleGrid
from htcgrid_core.domain.notification import mark_of
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.domain.session_event import event_of, progress_event_of
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.results import pages_after, some_outcomes

_log = logging.getLogger(__name__)

CAUSES = limits.FIRST_ERRORS


def event_text(plane: Plane, record: SessionRecord, to: str) -> str:
    """The event, as it is kept in the outbox."""
    mark = mark_of(to)
    event = (
        event_of(record, to, _causes(plane, record))
        if mark is None
        else progress_event_of(record, to, mark, plane.clock.now())
    )
    return json.dumps(event, separators=(",", ":"))


def _causes(plane: Plane, record: SessionRecord) -> list[dict[str, Any]]:
    """The first failed tasks, as far as they can be read."""
    if not record.counters.failed:
        return []
    try:
        return list(islice(_failures(plane, record), CAUSES))
    except (CorruptPayload, IncompatibleGrid) as error:
        _log.warning("session %s: its failures cannot be read: %s", record.session_id, error)
        return []


def _failures(plane: Plane, record: SessionRecord) -> Iterator[dict[str, Any]]:
    spec, cursor = record.parsed_spec(), 0
    while pages := pages_after(plane, record.session_id, cursor, failed_only=True):
        for page in pages:
            cursor = page.cursor
            for outcome in some_outcomes(plane, record.session_id, spec, page, _is_failed):
                error = decode_error(outcome.payload)
                yield {"index": outcome.index, "type": error.type, "message": error.message}


def _is_failed(index: int, failed: bool) -> bool:
    return failed
