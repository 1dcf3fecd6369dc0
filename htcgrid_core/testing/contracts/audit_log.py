"""The contract of AuditLog: what a store writes to it with what it does, and what is appended besides."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from htcgrid_core.domain.audit import AuditEntry, AuditPage, actor_text
from htcgrid_core.domain.lifecycle import SessionEvent
from htcgrid_core.domain.spent import Usage
from htcgrid_core.ports.audit_log import AuditLog
from htcgrid_core.ports.session_store import SessionStore
from htcgrid_core.testing.contracts import given
from htcgrid_core.testing.contracts.facts import eventually, together
from htcgrid_core.testing.contracts.given import NOW, SESSION

ALICE = actor_text("alice", "192.0.2.7")


def _done(entries: list[AuditEntry]) -> list[tuple[str, str, str]]:
    """What was done, and who did it, but for the acknowledgement, which stores may keep apart or not."""
    return [(one.event, one.actor, one.address) for one in entries if one.event != SessionEvent.ACKNOWLEDGE]


def _rotated(number: int, at: float = NOW) -> AuditEntry:
    return AuditEntry(at, "", "root@desk:1", "rotate-key", "", "", f"number {number}")


class AuditLogContract:
    """Everything that the audit and the costs rely on. Override ``store`` and ``audit``, of one grid."""

    @pytest.fixture
    def store(self) -> SessionStore:
        """An empty one."""
        raise NotImplementedError

    @pytest.fixture
    def audit(self, store: SessionStore) -> AuditLog:
        """Of the same grid."""
        raise NotImplementedError

    @pytest.mark.parametrize("sizes", [(2,), (2, 2, 2), (1,) * 6], ids=["one", "three", "six"])
    def test_a_session_from_its_submit_to_its_end(
        self, store: SessionStore, audit: AuditLog, sizes: tuple[int, ...]
    ) -> None:
        """Each action once, with who did it and from where; the end says what the session took."""
        store.create_whole(given.record(), given.roots(sizes), digest="", tolerated=None, actor=ALICE)
        at, first = 0.0, 0
        for number, size in enumerate(sizes):
            held = given.claimed(store, f"{number:08d}", f"token-{number}")
            commit = given.commit(held, list(range(first, first + size)))
            row, first, at = store.commit(commit), first + size, commit.now
        if not row.ended:  # a store may leave that to whoever sees that nothing is left to do
            row = store.advance(SESSION, SessionEvent.COMPLETE, now=at, actor="grid")
        found = audit.of_session(SESSION)
        assert _done(found) == [("submit", "alice", "192.0.2.7"), ("complete", "grid", "")]
        assert (found[-1].at, found[-1].before, found[-1].after) == (at, "RUNNING", "COMPLETED")
        assert found[0].spent is None
        spent = found[-1].spent
        assert spent is not None
        assert (spent.function, spent.pool, spent.tasks, spent.bundles) == (
            "pricing.handler", "default", sum(sizes), len(sizes),
        )  # fmt: skip
        assert spent.task_seconds == pytest.approx(given.TASK_SECONDS * sum(sizes))
        assert spent.usage == row.usage
        read = store.session(SESSION, NOW)
        assert read.usage == row.usage
        events = sum(block.payload.size for _, block in given.roots(sizes))
        assert row.usage == Usage(len(sizes), events, row.usage.output_bytes, 0)
        assert row.usage.output_bytes > 0

    def test_a_session_that_is_submitted_in_steps(self, store: SessionStore, audit: AuditLog) -> None:
        """Its events are counted as those of one that is written whole."""
        store.create_session(given.record(), actor=ALICE)
        pairs = given.roots([2, 2])
        for pair in pairs:
            store.put_bundles(SESSION, [pair], NOW)
            store.put_bundles(SESSION, [pair], NOW)  # its reply was lost
        store.acknowledge(SESSION, bundles=2, digest="", tolerated=None, now=NOW, actor=ALICE)
        assert _done(audit.of_session(SESSION)) == [("submit", "alice", "192.0.2.7")]
        assert store.session(SESSION, NOW).usage.input_bytes == sum(block.payload.size for _, block in pairs)

    def test_cancel_and_adopt(self, store: SessionStore, audit: AuditLog) -> None:
        """Who asked, why, and from which state to which; what changed nothing is not there."""
        given.running(store)
        for _ in range(2):
            store.adopt(SESSION, "attempt 2", NOW + 1, actor=ALICE)
        for _ in range(2):
            store.advance(SESSION, SessionEvent.CANCEL, now=NOW + 2, actor=ALICE, reason="a typo")
        store.advance(SESSION, SessionEvent.DRAIN, now=NOW + 3, actor="grid", reason="a typo")
        _, adopted, cancelled, drained = (
            one for one in audit.of_session(SESSION) if one.event != SessionEvent.ACKNOWLEDGE
        )
        assert adopted == AuditEntry(NOW + 1, SESSION, "alice", "adopt", "RUNNING", "RUNNING", "attempt 2", "192.0.2.7")
        assert cancelled == AuditEntry(
            NOW + 2, SESSION, "alice", "cancel", "RUNNING", "CANCELLING", "a typo", "192.0.2.7"
        )
        assert (drained.before, drained.after, drained.actor) == ("CANCELLING", "CANCELLED", "grid")
        assert drained.spent is not None

    def test_it_outlives_the_session(self, store: SessionStore, audit: AuditLog) -> None:
        """By default for more than a year; that it was deleted is there, too."""
        given.running(store, retention_seconds=1.0)
        store.advance(SESSION, SessionEvent.FAIL, now=NOW, actor="grid", reason="no time")
        later = NOW + 100
        assert eventually(lambda: given.expired(store, later, 10), bool) == [SESSION]
        audit.prune(later)
        assert [one.event for one in audit.of_session(SESSION)][-2:] == ["fail", "delete"]
        assert len(audit.of_session(SESSION)) >= 3
        (end,) = eventually(lambda: list(audit.ends(NOW, NOW + 1)), bool)
        assert end.session_id == SESSION

    def test_what_is_done_to_the_grid(self, audit: AuditLog) -> None:
        """Once, however often a call is repeated whose fate is unknown; others of the same moment are others."""
        for number in (1, 2):
            audit.append(_rotated(number), f"token-{number}")
        seen = eventually(lambda: audit.entries(NOW, NOW + 1, 10).entries, lambda found: len(found) == 2)
        assert {one.detail for one in seen} == {"number 1", "number 2"}
        assert replace(seen[0], detail="") == replace(_rotated(1), detail="")

    def test_by_time(self, store: SessionStore, audit: AuditLog) -> None:
        """Newest first, in pages of whatever size that lack and repeat nothing; the end of a time is not in it."""
        for number in range(5):
            given.running(store, session_id=f"s-{number:04d}", submitted_at=NOW + number // 2)
            audit.append(_rotated(number, NOW + number // 2), f"token-{number}")
        whole = eventually(
            lambda: list(audit.entries(0.0, math.inf, 100).entries),
            lambda found: len(_done(found)) == 10,
        )
        assert [one.at for one in whole] == sorted((one.at for one in whole), reverse=True)
        for limit in (1, 3, len(whole)):
            assert self._all(audit, 0.0, math.inf, limit) == whole
        assert self._all(audit, NOW + 1, NOW + 2, 2) == [one for one in whole if one.at == NOW + 1]
        assert audit.entries(NOW + 9, math.inf, 10) == AuditPage([], None)

    def test_ends_by_time(self, store: SessionStore, audit: AuditLog) -> None:
        """Each end once, and nothing else."""
        for number in range(4):
            name = f"s-{number:04d}"
            given.running(store, session_id=name)
            store.advance(name, SessionEvent.FAIL, now=NOW + number, actor="grid", reason="no time")
        found = eventually(lambda: list(audit.ends(NOW, NOW + 3)), lambda ends: len(ends) == 3)
        assert [one.session_id for one in found] == ["s-0002", "s-0001", "s-0000"]
        assert all(one.spent is not None for one in found)

    def test_of_many_who_end_a_session_one_is_in_it(self, store: SessionStore, audit: AuditLog) -> None:
        """The write that ends it is the write that says so."""
        given.running(store)

        def end(number: int) -> Callable[[], object]:
            return lambda: store.advance(SESSION, SessionEvent.FAIL, now=NOW + number, actor=f"agent-{number}")

        together([end(number) for number in range(6)])
        ends = [one for one in audit.of_session(SESSION) if one.spent is not None]
        assert len(ends) == 1
        assert ends[0].actor == store.history(SESSION)[-1].actor

    @staticmethod
    def _all(audit: AuditLog, since: float, until: float, limit: int) -> list[AuditEntry]:
        found: list[AuditEntry] = []
        page = audit.entries(since, until, limit)
        found += page.entries
        while page.cursor is not None:
            page = audit.entries(since, until, limit, page.cursor)
            found += page.entries
        return found
