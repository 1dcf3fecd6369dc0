"""Broken versions of the protocol, each a fault of a real system; the simulator must see every one of them."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

from htcgrid_core.adapters.local.sqlite.database import Database, writes
from htcgrid_core.adapters.local.sqlite.outbox import SqliteOutbox
from htcgrid_core.adapters.local.sqlite.store import SqliteStore
from htcgrid_core.agent.loop import planned_commit
from htcgrid_core.codecs.buffers import Data, joined
from htcgrid_core.domain.bundle import Bundle, child_of
from htcgrid_core.domain.errors import GridError
from htcgrid_core.domain.lifecycle import SessionEvent, SessionState
from htcgrid_core.domain.notification import Notification, NotificationState
from htcgrid_core.domain.payload import Payload
from htcgrid_core.domain.retry import RetryPolicy
from htcgrid_core.domain.session import SessionRecord, SessionSpec
from htcgrid_core.domain.task_error import ran_out_of_memory
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import Claimed, Commit, Refused
from htcgrid_core.services import hints, payloads, telling
from htcgrid_core.services import recipients as recipients_service
from htcgrid_core.services.finalize import finalize
from htcgrid_core.testing.simulator import scenario
from htcgrid_core.testing.simulator.planes import MemoryBlobs
from htcgrid_core.testing.simulator.scenario import Run


class UnfencedCommit(SqliteStore):
    """A commit does not ask whose the lease is."""

    def commit(self, commit: Commit) -> SessionRecord:
        """Commit with whatever token the row has, even if the bundle is done."""
        self._unfence(commit)
        return super().commit(commit)

    @writes
    def _unfence(self, db: sqlite3.Connection, commit: Commit) -> None:
        db.execute(
            "UPDATE bundles SET state = 'LEASED', token = ? WHERE session_id = ? AND id = ?",
            (commit.token, commit.session_id, commit.bundle_id),
        )
        db.execute("DELETE FROM bundles WHERE session_id = ? AND parent = ?", (commit.session_id, commit.bundle_id))


class UnconditionalCancel(SqliteStore):
    """A cancel is written whatever the state."""

    def advance(
        self,
        session_id: str,
        event: SessionEvent,
        *,
        now: float,
        actor: str,
        reason: str = "",
        owner: str | None = None,
    ) -> SessionRecord:
        """Write CANCELLING over anything."""
        if event is SessionEvent.CANCEL:
            cancelling = "UPDATE sessions SET state = ?, live = 1 WHERE id = ?"
            self._database.write(lambda db: db.execute(cancelling, (SessionState.CANCELLING, session_id)))
        return super().advance(session_id, event, now=now, actor=actor, reason=reason, owner=owner)


class CountersApart(SqliteStore):
    """Counters are written after the commit, in a step of their own that a replayed commit repeats."""

    def commit(self, commit: Commit) -> SessionRecord:
        """Commit, then count."""
        super().commit(replace(commit, completed=0, failed=0))
        self._count(commit)
        return self.session(commit.session_id, 0.0)

    @writes
    def _count(self, db: sqlite3.Connection, commit: Commit) -> None:
        db.execute(
            "UPDATE sessions SET completed = completed + ?, failed = failed + ? WHERE id = ?",
            (commit.completed, commit.failed, commit.session_id),
        )
        db.execute(
            "UPDATE outcomes SET completed = ?, failed = ? WHERE session_id = ? AND bundle_id = ?",
            (commit.completed, commit.failed, commit.session_id, commit.bundle_id),
        )


class RetryingApart(SqliteStore):
    """What runs again is counted after the commit, in a step of its own that a replayed commit repeats."""

    def commit(self, commit: Commit) -> SessionRecord:
        """Commit, then count."""
        super().commit(replace(commit, retrying=0))
        more = "UPDATE sessions SET retrying = retrying + ? WHERE id = ?"
        self._database.write(lambda db: db.execute(more, (commit.retrying, commit.session_id)))
        return self.session(commit.session_id, 0.0)


class RetryingForEver(SqliteStore):
    """What has run again is not taken back from those that do."""

    def commit(self, commit: Commit) -> SessionRecord:
        """Count only more."""
        return super().commit(replace(commit, retrying=max(0, commit.retrying)))


class ForgetfulClaim(SqliteStore):
    """A claim does not recognise its own token, so a lost reply makes one's own claim another's."""

    def claim(
        self,
        session_id: str,
        bundle_id: str,
        *,
        token: str,
        owner: str,
        now: float,
        until: float,
        generation: str = "",
    ) -> Claimed | Refused:
        """Claim with a token that the caller does not know."""
        answer = super().claim(session_id, bundle_id, token=token + "'", owner=owner, now=now, until=until)
        if isinstance(answer, Claimed):
            return replace(answer, lease=replace(answer.lease, token=token))
        return answer


class UnguardedSubmit(SqliteStore):
    """Bundles are written unconditionally: a retried submit resets those that are done."""

    def put_bundles(self, session_id: str, bundles: Any, now: float) -> None:
        """Write over what is there."""
        self._forget(session_id, bundles)
        super().put_bundles(session_id, bundles, now)

    @writes
    def _forget(self, db: sqlite3.Connection, session_id: str, bundles: Any) -> None:
        for bundle, block in bundles:
            known = db.execute(
                "DELETE FROM blocks WHERE session_id = ? AND root = ?", (session_id, block.root)
            ).rowcount
            db.execute("DELETE FROM bundles WHERE session_id = ? AND id = ?", (session_id, bundle.bundle_id))
            if known:
                db.execute("UPDATE sessions SET total = total - ? WHERE id = ?", (block.count, session_id))


class OverwritingBlobs(MemoryBlobs):
    """A blob is replaced by whoever writes its key last."""

    def put(self, key: str, data: Data) -> None:
        """Replace."""
        self.blobs[key] = joined(data)


class BackgroundBlobs(MemoryBlobs):
    """What a commit writes is written beside it, while its row is there already."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[tuple[str, bytes]] = []

    def put(self, key: str, data: Data) -> None:
        """Take it, and write what was taken before."""
        waiting, self._waiting = self._waiting, [(key, joined(data))]
        for taken in waiting:
            super().put(*taken)


def _fixed_key(plane: Plane, session_id: str, spec: SessionSpec, what: str, packed: Data, key: str) -> Payload:
    if what == payloads.OUTCOMES:
        key = key.rpartition("/")[0]
    return _store(plane, session_id, spec, what, packed, key)


_store = payloads.store


@contextlib.contextmanager
def _fixed_result_key() -> Iterator[None]:
    with patch.object(payloads, "store", _fixed_key):
        yield


def _reconcile_without_resend(plane: Plane, tick_seconds: float) -> None:
    """Ends and drains sessions, but re-sends nothing."""
    for record in plane.store.live_sessions():
        if record.state is SessionState.CANCELLING and not plane.store.has_live_lease(
            record.session_id, plane.clock.now()
        ):
            plane.store.advance(
                record.session_id, SessionEvent.DRAIN, now=plane.clock.now(), actor="reconciler", reason=""
            )
        else:
            finalize(plane, record)


def _tell_before_the_end(plane: Plane) -> None:
    """A session that is being cancelled is told as cancelled."""
    for row in plane.outbox.pending():
        for record in plane.store.progress([row.session_id], plane.clock.now()):
            if record.state is SessionState.CANCELLING:
                telling.attempt(partial(telling.tell, plane, replace(record, state=SessionState.CANCELLED), row.to))
    telling.tell_all(plane)


class _SettledFirst(SqliteOutbox):
    """What is claimed is taken for told."""

    def replace(self, before: Notification | None, after: Notification) -> bool:
        """Settle a row as soon as somebody begins to tell."""
        if after.attempts and not after.is_settled:
            super().replace(before, replace(after, state=NotificationState.DELIVERED))
            return True
        return super().replace(before, after)


def _anew_at_each_try(row: Notification, version: str, event_id: str, event: str, now: float, until: float) -> Any:
    """A claim that keeps no event, and an outcome that is what its teller thinks."""
    claimed = _claimed(row, version, event_id, event, now, until)
    if claimed is not None:
        told = json.loads(claimed.event)
        told["data"]["reason"] = f"told at {now}"
        claimed = replace(claimed, event=json.dumps(told))
    return claimed


_claimed = Notification.claimed


def _told_anew(seed: int) -> list[str]:
    with patch.object(Notification, "claimed", _anew_at_each_try):
        return Run(seed).simulate()


def _given_up(plane: Plane, mine: Notification, detail: str, ended_at: float) -> None:
    telling._settle(plane, mine, NotificationState.REFUSED, detail)


def _without_retries(seed: int) -> list[str]:
    with patch.object(telling, "_again", _given_up):
        return Run(seed).simulate()


def _settled_first(seed: int) -> list[str]:
    return Run(seed, make_outbox=_SettledFirst).simulate()


def _told_early(seed: int) -> list[str]:
    return Run(seed, make_tell=_tell_before_the_end).simulate()


def _marked_early(seed: int) -> list[str]:
    """A mark is told before the session has come to it."""
    with patch.object(telling, "is_at", lambda _mark, _counters: True):
        return Run(seed).simulate()


def _unmarked(seed: int) -> list[str]:
    """No mark is ever taken for reached."""
    with patch.object(telling, "is_at", lambda _mark, _counters: False):
        return Run(seed).simulate()


def _registered_last(seed: int) -> list[str]:
    """The outbox is written after the session, and not again."""

    def submit_first(plane: Plane, session_id: str, recipients: Any, submit: Callable[[], SessionRecord]) -> Any:
        record = submit()
        with contextlib.suppress(GridError):
            recipients_service.submit_with(plane, session_id, recipients, lambda: record)
        return record

    with patch.object(scenario, "submit_with", submit_first):
        return Run(seed).simulate()


def _moved_without_its_pool(seed: int) -> list[str]:
    """The bundle of what ran out of memory does not say where it goes."""
    with patch.object(planned_commit, "_moved", lambda _plane, bundle, _pool: bundle):
        return Run(seed).simulate()


def _told_at_home(seed: int) -> list[str]:
    """Hints of moved bundles go to the agents of their session's pool."""
    with patch.object(hints, "by_pool", lambda pool, found: {pool: list(found)} if found else {}):
        return Run(seed).simulate()


def _moved_again(seed: int) -> list[str]:
    """What runs out of memory moves wherever it is, and so for ever."""

    def moves(self: RetryPolicy, _pool: str, error_type: str) -> bool:
        return self.on_out_of_memory is not None and ran_out_of_memory(error_type)

    with patch.object(RetryPolicy, "moves_from", moves):
        return Run(seed).simulate()


def _come_home(seed: int) -> list[str]:
    """What is handed back of a moved bundle forgets that it was moved."""

    def forgetful(parent: Bundle, *args: Any, **options: Any) -> Bundle:
        return child_of(replace(parent, pool=""), *args, **options)

    with patch.object(planned_commit, "child_of", forgetful):
        return Run(seed).simulate()


def _with_background_blobs(seed: int) -> list[str]:
    return Run(seed, make_blobs=BackgroundBlobs).simulate()


def _with_store(store: Callable[[Database], SqliteStore]) -> Callable[[int], list[str]]:
    return lambda seed: Run(seed, make_store=store).simulate()


def _with_fixed_key(seed: int) -> list[str]:
    with _fixed_result_key():
        return Run(seed, make_blobs=OverwritingBlobs).simulate()


def _without_resend(seed: int) -> list[str]:
    return Run(seed, make_reconcile=_reconcile_without_resend).simulate()


MUTANTS: dict[str, Callable[[int], list[str]]] = {
    "fixed result key": _with_fixed_key,
    "row before its blob": _with_background_blobs,
    "no fence on commit": _with_store(UnfencedCommit),
    "no re-send of children": _without_resend,
    "unconditional cancel": _with_store(UnconditionalCancel),
    "counters outside the transaction": _with_store(CountersApart),
    "retries counted outside the transaction": _with_store(RetryingApart),
    "retries never counted off": _with_store(RetryingForEver),
    "own claim not recognised": _with_store(ForgetfulClaim),
    "unconditional bundle rows": _with_store(UnguardedSubmit),
    "told before the end is written": _told_early,
    "outbox row settled first": _settled_first,
    "another event at each try": _told_anew,
    "no second try of a message": _without_retries,
    "outbox written after the session": _registered_last,
    "mark told before it is reached": _marked_early,
    "mark never told": _unmarked,
    "moved task without its pool": _moved_without_its_pool,
    "moved task told to another pool": _told_at_home,
    "task moved again and again": _moved_again,
    "moved task handed back to its first pool": _come_home,
}
"""Each runs one seed of a broken grid, which raises once the fault shows."""
