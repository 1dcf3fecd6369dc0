"""The states of all tasks of a session, one byte each, kept up to date while somebody looks.

What a commit leaves beside its outputs says most of it: a root bundle that was committed without failures, and without
descendants, is a range of completed tasks, whose outputs nobody reads. Of other bundles the pages are read, some at
each look; until then their tasks are ``UNREAD``. So a session of a million tasks costs what its list of bundles does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum
from functools import partial

from htcgrid_core.domain.bundle import root_id, root_of
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import Committed, OutcomePage
from htcgrid_core.services.call_retries import with_retries
from htcgrid_core.services.results import page_columns

LISTED_AT_ONCE = 4000
PAGES_AT_ONCE = 100
PAGES_A_LOOK = 400  # that are read for one look, at most: the rest is for the looks that follow
PROBES = 8  # blocks that are looked at before all are taken to be of one size


class Code(IntEnum):
    """A task's state as a byte; where many tasks are one pixel, the highest shows."""

    WAITING = 0
    COMPLETED = 1
    CANCELLED = 2
    RUNNING = 3
    RETRY = 4
    UNREAD = 5  # it has ended; whether it failed is still to be read
    FAILED = 6


class TaskStates:
    """Of one session. For one thread at a time."""

    def __init__(self) -> None:
        self._codes = bytearray()
        self._roots: list[range] = []  # the tasks of each
        self._cursor = 0
        self._bundles: dict[int, list[str]] = {}  # committed ones, of each root that has any
        self._unread: dict[int, None] = {}  # roots whose pages must be read, in order
        self._is_exact: set[int] = set()  # roots whose pages were read

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left to be read of what the last look knew."""
        return not self._unread

    def look(self, plane: Plane, record: SessionRecord) -> bytes:
        """The states now, in index order, as ``Code`` has them.

        Args:
            record: of the session, as it is now or was a moment ago.

        Raises:
            CorruptPayload: a page that had to be read was damaged, or not written by this grid.
        """
        counters = record.counters
        for code, count in ((Code.COMPLETED, counters.completed), (Code.FAILED, counters.failed)):
            if count == counters.total:
                return bytes((code,)) * counters.total
        if not record.acknowledged:
            return bytes(counters.total)
        if not self._roots:
            self._roots = _roots(plane, record)
            self._codes = bytearray(counters.total)
        self._list(plane, record.session_id)
        self._read(plane, record)
        return self._with_those_that_have_not_ended(plane, record)

    def _list(self, plane: Plane, session_id: str) -> None:
        """Take in what was committed since the last look."""
        for some in committed_after(plane, session_id, self._cursor):
            for one in some:
                self._cursor, root = one.cursor, root_of(one.bundle_id)
                if not 0 <= root < len(self._roots):
                    continue  # a row that somebody else wrote
                known = self._bundles.setdefault(root, [])
                known.append(one.bundle_id)
                if known == [root_id(root)] and not one.failed:
                    self._fill(root, Code.COMPLETED)
                else:
                    if len(known) == 1:
                        self._fill(root, Code.UNREAD)
                    self._unread[root] = None
                    self._is_exact.discard(root)

    def _read(self, plane: Plane, record: SessionRecord) -> None:
        """Read the pages of roots that are no plain ranges, until it has been enough for one look."""
        left = PAGES_A_LOOK
        left = self._read_roots(plane, record, self._unread, left)
        if left <= 0 or self._unread or record.ended:
            return
        # A root whose other tasks are with a bundle that is still open looks like a whole one. Then more tasks seem to
        # have ended than have: most likely of those roots that were committed last.
        plain = [root for root in reversed(self._bundles) if root not in self._is_exact]
        while plain and left > 0:
            counters = with_retries(plane, partial(plane.store.session, record.session_id, plane.clock.now())).counters
            if len(self._codes) - self._codes.count(Code.WAITING) <= counters.completed + counters.failed:
                return
            some, plain = plain[:PAGES_AT_ONCE], plain[PAGES_AT_ONCE:]
            left = self._read_roots(plane, record, some, left)

    def _read_roots(self, plane: Plane, record: SessionRecord, roots: Iterable[int], left: int) -> int:
        """Read all pages of some roots; how many pages may still be read."""
        for root in list(roots):
            if left <= 0:
                break
            ids = self._bundles[root]
            codes = bytearray(len(self._roots[root]))
            first = self._roots[root].start
            for at in range(0, len(ids), PAGES_AT_ONCE):
                some = ids[at : at + PAGES_AT_ONCE]
                for page in with_retries(plane, partial(plane.store.bundle_pages, record.session_id, some)):
                    _paint(plane, record, page, codes, first)
            self._codes[first : first + len(codes)] = codes
            self._is_exact.add(root)
            self._unread.pop(root, None)
            left -= len(ids)
        return left

    def _fill(self, root: int, code: Code) -> None:
        tasks = self._roots[root]
        self._codes[tasks.start : tasks.stop] = bytes((code,)) * len(tasks)

    def _with_those_that_have_not_ended(self, plane: Plane, record: SessionRecord) -> bytes:
        if record.ended:
            return bytes(self._codes).replace(bytes((Code.WAITING,)), bytes((Code.CANCELLED,)))
        codes = bytearray(self._codes)

        def mark(indexes: Iterable[int], code: Code) -> None:
            for index in indexes:
                if 0 <= index < len(codes) and codes[index] in (Code.WAITING, Code.RETRY):
                    codes[index] = code

        if record.counters.retrying:
            mark(_failed_before(plane, record.session_id), Code.RETRY)
        agents = with_retries(plane, partial(plane.store.agents, plane.clock.now()))
        for agent in agents:
            mark((task.index for task in agent.begun or () if task.session_id == record.session_id), Code.RUNNING)
        return bytes(codes)


def committed_after(plane: Plane, session_id: str, cursor: int) -> Iterator[list[Committed]]:
    """What was committed since, in pieces."""
    while some := with_retries(plane, partial(plane.store.committed, session_id, cursor, LISTED_AT_ONCE)):
        yield some
        if len(some) < LISTED_AT_ONCE:
            return
        cursor = some[-1].cursor


def _failed_before(plane: Plane, session_id: str) -> Iterable[int]:
    """Tasks that wait for another attempt, or are in one."""
    after = ""
    while some := with_retries(plane, partial(plane.store.open_bundles, session_id, after, PAGES_AT_ONCE)):
        for found in some:
            yield from found.bundle.failures
        after = some[-1].bundle.bundle_id


def _paint(plane: Plane, record: SessionRecord, page: OutcomePage, codes: bytearray, first: int) -> None:
    rows = page_columns(plane, record.session_id, record.parsed_spec(), page)
    for index, has_failed in zip(rows.indexes, rows.failed, strict=True):
        if 0 <= index - first < len(codes):
            codes[index - first] = Code.FAILED if has_failed else Code.COMPLETED


def _roots(plane: Plane, record: SessionRecord) -> list[range]:
    """The tasks of each root. Blocks that are all of one size need not be read, but for some of them."""
    total, bundles = record.counters.total, record.bundles
    if bundles == 1:
        return [range(total)]

    def blocks(first: int, limit: int) -> list[range]:
        ask = partial(plane.store.blocks, record.session_id, first, limit, events=False)
        return [range(block.first_index, block.first_index + block.count) for block in with_retries(plane, ask)]

    probed = sorted({bundles * at // PROBES for at in range(PROBES)} | {bundles - 1})
    if len(probed) < bundles:
        found = {root: blocks(root, 1) for root in probed}
        size = len(found[0][0]) if found[0] else 0
        if size and all(some and some[0].start == root * size for root, some in found.items()):
            return [range(at, min(at + size, total)) for at in range(0, total, size)]
    roots: list[range] = []
    while some := blocks(len(roots), PAGES_AT_ONCE):
        roots += some
    return roots
