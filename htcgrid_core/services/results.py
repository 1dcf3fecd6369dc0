"""Results: pages in commit order while a session runs, tasks in index order at its end, both in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby

from htcgrid_core.codecs import frames
from htcgrid_core.codecs import outcomes as codec
from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.domain.session import SessionRecord, SessionSpec
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import OutcomePage
from htcgrid_core.services import payloads
from htcgrid_core.services.call_retries import patience_of, with_retries
from htcgrid_core.services.range_reads import RangeReader, range_pays

PAGES_AT_ONCE = 16
ROOTS_AT_ONCE = 8


def page_outcomes(plane: Plane, session_id: str, spec: SessionSpec, page: OutcomePage) -> codec.Outcomes:
    """The outcomes of one page, verified."""
    return codec.unpack(payloads.load(plane, session_id, spec, payloads.OUTCOMES, page.payload))


def some_outcomes(
    plane: Plane, session_id: str, spec: SessionSpec, page: OutcomePage, wanted: Callable[[int, bool], bool]
) -> list[Outcome]:
    """The outcomes of one page of which ``wanted(index, failed)`` is true; of a large page no more is read."""
    if range_pays(page.payload):
        found = codec.unpack_some(RangeReader(plane, session_id, spec, payloads.OUTCOMES, page.payload), wanted)
    else:
        found = page_outcomes(plane, session_id, spec, page)
    return [outcome for outcome in found if wanted(outcome.index, outcome.failed)]


def pages_after(plane: Plane, session_id: str, cursor: int, *, failed_only: bool = False) -> list[OutcomePage]:
    """The next pages in commit order."""
    return with_retries(
        plane,
        lambda: plane.store.outcome_pages(session_id, cursor, PAGES_AT_ONCE, failed_only=failed_only),
    )


def in_index_order(plane: Plane, record: SessionRecord, spec: SessionSpec) -> Iterator[tuple[int, Outcome | None]]:
    """(index, outcome) of every task; None for one that has no outcome (yet, or for ever if cancelled).

    What cannot be read now is waited for, as ``domain.patience`` says.
    """
    root, patience = 0, patience_of(plane)
    while record.bundles < 0 or root < record.bundles:
        tasks = patience.read(partial(_tasks_of_roots, plane, record, root))
        if not tasks:
            return  # of a session that was never acknowledged, what was written
        last = max(tasks) + 1
        pages = patience.read(partial(plane.store.root_pages, record.session_id, root, last))
        by_root = {number: list(group) for number, group in groupby(pages, key=lambda page: page.root)}
        for number, indexes in tasks.items():
            found = {
                outcome.index: outcome
                for page in by_root.get(number, ())
                for outcome in patience.read(partial(page_outcomes, plane, record.session_id, spec, page))
            }
            for index in indexes:
                yield index, found.get(index)
        root = last


def _tasks_of_roots(plane: Plane, record: SessionRecord, first_root: int) -> dict[int, range]:
    """The tasks of the next few root bundles."""
    if record.bundles == 1:
        return {0: range(record.counters.total)}
    blocks = with_retries(
        plane, partial(plane.store.blocks, record.session_id, first_root, ROOTS_AT_ONCE, events=False)
    )
    return {block.root: range(block.first_index, block.first_index + block.count) for block in blocks}


def events_in_order(plane: Plane, record: SessionRecord, spec: SessionSpec) -> Iterator[bytes]:
    """Every event in index order, encoded as it was submitted."""
    root = 0
    while blocks := with_retries(plane, partial(plane.store.blocks, record.session_id, root, ROOTS_AT_ONCE)):
        for block in blocks:
            packed = payloads.load(plane, record.session_id, spec, payloads.EVENTS, block.payload)
            yield from frames.unpack(packed).payloads()
        root = blocks[-1].root + 1
