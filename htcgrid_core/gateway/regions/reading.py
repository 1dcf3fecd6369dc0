"""Results of sessions that were resubmitted from one region to another: no region has all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.gateway.regions.region import Region
from htcgrid_core.gateway.regions.rows import Rows
from htcgrid_core.services.resubmit import filled, parent_of


def merged_outcomes(rows: Rows, record: SessionRecord, start: int) -> Iterator[tuple[int, Outcome | None]]:
    """See ``Gateway.outcomes``: a session's own, in the gaps of its parent's, wherever that ran."""
    region, own = there(rows, record)
    parents = _parents(rows, record)
    if all(of is region for of, _ in parents):
        return region.read(lambda gateway: gateway.outcomes(own, start))
    spec = own.parsed_spec()
    alone = replace(own, spec=spec.model_copy(update={"parent_id": None}).text)
    ran_again = region.read(lambda gateway: gateway.outcomes(alone))
    return islice(filled(merged_outcomes(rows, parents[0][1], 0), ran_again), start, None)


def _parents(rows: Rows, record: SessionRecord) -> list[tuple[Region, SessionRecord]]:
    """The sessions that it runs again what is left of, the nearest first.

    Raises:
        SessionNotFound: the retention time of one has passed, or it was deleted.
    """
    found: list[tuple[Region, SessionRecord]] = []
    while (parent_id := record.parsed_spec().parent_id) is not None:
        record = parent_of(record, rows.session(parent_id))
        found.append((rows.at(parent_id)[0], record))
    return found


def there(rows: Rows, record: SessionRecord) -> tuple[Region, SessionRecord]:
    """A session's region, and its row as that knows it."""
    region, session_id = rows.at(record.session_id)
    return region, record if session_id == record.session_id else replace(record, session_id=session_id)
