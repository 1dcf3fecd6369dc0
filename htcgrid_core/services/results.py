"""Results: pages in commit order while a session runs, tasks in index order at its end, both in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import groupby

from htcgrid_core.codecs import frames
from htcgrid_core.codecs import outcomes as codec
from htcgrid_core.codecs.outcomes import Outcome
from htcgrid_core.domain.bundle import Block
from htcgrid_core.domain.errors import CorruptPayload, SessionNotFound
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session import SessionRecord, SessionSpec
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import OutcomePage
from htcgrid_core.services import payloads
from htcgrid_core.services.call_retries import patience_of, with_retries
from htcgrid_core.services.large_pages import LargePage, is_large
from htcgrid_core.services.range_reads import RangeReader, range_pays

PAGES_AT_ONCE = 16
ROOTS_AT_ONCE = 8
FEW_TASKS = 16
FEW_BYTES = 64 << 10  # of their results together, packed


def page_outcomes(plane: Plane, session_id: str, spec: SessionSpec, page: OutcomePage) -> codec.Outcomes:
    """The outcomes of one page, verified."""
    packed = payloads.load(plane, session_id, spec, payloads.OUTCOMES, page.payload)
    return codec.unpack(packed, is_whole=payloads.has_digests(page.payload))


def outcomes_of(plane: Plane, session_id: str, spec: SessionSpec, page: OutcomePage) -> Iterable[Outcome]:
    """The outcomes of one page, verified; large results are read, and verified, when their payload is asked for."""
    if is_large(page):
        return LargePage(plane, session_id, spec, page)
    return page_outcomes(plane, session_id, spec, page)


def some_outcomes(
    plane: Plane, session_id: str, spec: SessionSpec, page: OutcomePage, wanted: Callable[[int, bool], bool]
) -> list[Outcome]:
    """The outcomes of one page of which ``wanted(index, failed)`` is true; of a large page no more is read."""
    if range_pays(page.payload):
        found = codec.unpack_some(RangeReader(plane, session_id, spec, payloads.OUTCOMES, page.payload), wanted)
    else:
        found = page_outcomes(plane, session_id, spec, page)
    return [outcome for outcome in found if wanted(outcome.index, outcome.failed)]


def page_columns(plane: Plane, session_id: str, spec: SessionSpec, page: OutcomePage) -> codec.Outcomes:
    """The columns of one page, for those who need no results, errors and logs: of a large page these are not read."""
    if range_pays(page.payload):
        return codec.unpack_columns(RangeReader(plane, session_id, spec, payloads.OUTCOMES, page.payload))
    return page_outcomes(plane, session_id, spec, page)


def pages_after(plane: Plane, session_id: str, cursor: int, *, failed_only: bool = False) -> list[OutcomePage]:
    """The next pages in commit order."""
    return with_retries(
        plane,
        lambda: plane.store.outcome_pages(session_id, cursor, PAGES_AT_ONCE, failed_only=failed_only),
    )


def in_index_order(
    plane: Plane, record: SessionRecord, spec: SessionSpec, start: int = 0
) -> Iterator[tuple[int, Outcome | None]]:
    """(index, outcome) of every task; None for one that has no outcome (yet, or for ever if cancelled).

    What cannot be read now is waited for, as ``domain.patience`` says.

    Args:
        start: the first task that is wanted; bundles before its own are not read.

    Raises:
        SessionNotFound: it was deleted while it was read.
    """
    patience = patience_of(plane)
    root = patience.read(partial(root_of_task, plane, record, start))
    while record.bundles < 0 or root < record.bundles:
        tasks = patience.read(partial(_tasks_of_roots, plane, record, root))
        if not tasks and record.acknowledged:
            raise SessionNotFound(record.session_id)
        if not tasks:
            return  # of a session that was never acknowledged, what was written
        last = max(tasks) + 1
        pages = patience.read(partial(plane.store.root_pages, record.session_id, root, last))
        by_root = {number: list(group) for number, group in groupby(pages, key=lambda page: page.root)}
        for number, indexes in tasks.items():
            found = {
                outcome.index: outcome
                for page in by_root.get(number, ())
                for outcome in patience.read(partial(outcomes_of, plane, record.session_id, spec, page))
            }
            if record.state is SessionState.COMPLETED and len(found) < len(indexes):
                raise SessionNotFound(record.session_id)  # of one that is there, every task has an outcome
            for index in indexes[max(0, start - indexes.start) :]:
                yield index, found.get(index)
        root = last


def few(plane: Plane, record: SessionRecord) -> list[tuple[int, Outcome | None]] | None:
    """As ``in_index_order``, of a session that is COMPLETED with few and small results; None of any other.

    One read, and no wait for a grid that cannot be read now.
    """
    spec = record.parsed_spec()
    is_small = record.counters.total <= FEW_TASKS and spec.parent_id is None
    if record.state is not SessionState.COMPLETED or not is_small:
        return None
    pages = plane.store.root_pages(record.session_id, 0, record.bundles)
    if any(page.payload.data is None for page in pages) or sum(page.payload.size for page in pages) > FEW_BYTES:
        return None
    found = {one.index: one for page in pages for one in page_outcomes(plane, record.session_id, spec, page)}
    return [(index, found.get(index)) for index in range(record.counters.total)]


def _tasks_of_roots(plane: Plane, record: SessionRecord, first_root: int) -> dict[int, range]:
    """The tasks of the next few root bundles."""
    if record.bundles == 1:
        return {0: range(record.counters.total)}
    blocks = with_retries(
        plane, partial(plane.store.blocks, record.session_id, first_root, ROOTS_AT_ONCE, events=False)
    )
    return {block.root: range(block.first_index, block.first_index + block.count) for block in blocks}


def events_in_order(plane: Plane, record: SessionRecord, spec: SessionSpec, start: int = 0) -> Iterator[bytes]:
    """Every event in index order, encoded as it was submitted; from ``start`` on.

    Raises:
        SessionNotFound: it was deleted while it was read.
    """
    root = root_of_task(plane, record, start)
    while blocks := with_retries(plane, partial(plane.store.blocks, record.session_id, root, ROOTS_AT_ONCE)):
        for block in blocks:
            packed = payloads.load(plane, record.session_id, spec, payloads.EVENTS, block.payload)
            found = frames.unpack(packed, is_whole=payloads.has_digests(block.payload))
            yield from found.payloads()[max(0, start - block.first_index) :]
        root = blocks[-1].root + 1
    if root < record.bundles:  # it was deleted meanwhile
        raise SessionNotFound(record.session_id)


def root_of_task(plane: Plane, record: SessionRecord, index: int) -> int:
    """The root bundle to begin at for the tasks from ``index`` on."""
    if index <= 0 or record.bundles == 1:
        return 0
    if index >= record.counters.total:
        return max(0, record.bundles)  # behind the last one
    return block_of(plane, record, index).root


def block_of(plane: Plane, record: SessionRecord, index: int) -> Block:
    """The block that holds an index, by bisection: the blocks' first indexes grow with their numbers."""
    low, high = 0, index  # a block holds at least one task, so block n begins at n or later
    if record.acknowledged:
        high = min(high, record.bundles - 1)
    while low <= high:
        middle = (low + high) // 2
        found = with_retries(plane, partial(plane.store.blocks, record.session_id, middle, 1, events=False))
        if not found or found[0].first_index > index:
            high = middle - 1
        elif found[0].first_index + found[0].count <= index:
            low = middle + 1
        else:
            return found[0]
    raise CorruptPayload(f"no block of session {record.session_id} holds task {index}")
