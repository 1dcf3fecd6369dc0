"""What the suites compare: everything a store says of a session, and facts that may take a moment to show."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from htcgrid_core.domain.bundle import Block
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.session_store import AuditEntry, OpenBundle, OutcomePage, SessionStore
from htcgrid_core.testing.contracts.given import FULL_PAGE, NOW, SESSION

T = TypeVar("T")

PATIENCE_SECONDS = 20.0


@dataclass(frozen=True)
class Everything:
    """All that a store says of one session."""

    record: SessionRecord
    open_bundles: list[OpenBundle]
    blocks: list[Block]
    pages: list[OutcomePage]
    history: list[AuditEntry]


def everything(store: SessionStore, session_id: str = SESSION) -> Everything:
    """A snapshot, for "nothing was changed"."""
    return Everything(
        store.session(session_id, NOW),
        store.open_bundles(session_id, "", FULL_PAGE),
        store.blocks(session_id, 0, FULL_PAGE),
        store.outcome_pages(session_id, 0, FULL_PAGE),
        store.history(session_id),
    )


def eventually(look: Callable[[], T], is_so: Callable[[T], bool]) -> T:
    """What ``look`` returns once it is so, or at last when patience runs out, for the caller to assert on."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so(seen := look()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return seen


def together(calls: Sequence[Callable[[], T]]) -> list[T | Exception]:
    """Call all at the same moment, each in a thread of its own; what each returned or raised, in order."""
    barrier = threading.Barrier(len(calls))
    answers: list[T | Exception] = [RuntimeError("it did not answer")] * len(calls)

    def run(number: int, call: Callable[[], T]) -> None:
        barrier.wait()
        try:
            answers[number] = call()
        except Exception as error:  # noqa: BLE001 - the test looks at whatever was raised
            answers[number] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def assert_counters_exact(store: SessionStore, session_id: str = SESSION) -> None:
    """S11: the counters equal a recount of the rows, and of an ended session they add up."""
    row = store.session(session_id, NOW)
    pages = store.outcome_pages(session_id, 0, FULL_PAGE)
    assert row.counters.completed == sum(page.completed for page in pages)
    assert row.counters.failed == sum(page.failed for page in pages)
    assert row.counters.total == sum(block.count for block in store.blocks(session_id, 0, FULL_PAGE))
    if row.ended:
        assert row.counters.pending == 0
    else:
        open_tasks = sum(len(found.bundle.indexes) for found in store.open_bundles(session_id, "", FULL_PAGE))
        assert row.counters.pending == open_tasks


def assert_history_chains(store: SessionStore, session_id: str = SESSION) -> None:
    """Each transition starts where the one before it ended, and the last ends where the session is.

    A new try after one that was never acknowledged starts from nothing.
    """
    entries = store.history(session_id)
    assert entries, "a session that exists has a history"
    for earlier, later in itertools.pairwise(entries):
        assert later.before == earlier.after or (later.before, earlier.after) == ("", SessionState.CANCELLED)
    assert entries[-1].after == store.session(session_id, NOW).state
