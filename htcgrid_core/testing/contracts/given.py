"""What the suites start from: sessions, bundles, claims and commits with as few arguments as a test cares about."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from htcgrid_core.codecs import frames
from htcgrid_core.codecs import outcomes as codec
from htcgrid_core.codecs.outcomes import Outcome, Outcomes, encode_error
from htcgrid_core.domain import limits
from htcgrid_core.domain.agent_version import FIRST_AGENT_VERSION
from htcgrid_core.domain.bundle import Block, Bundle, Child, child_id, root_id
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.lease import Lease
from htcgrid_core.domain.lifecycle import SessionEvent, SessionState
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.domain.payload import Payload
from htcgrid_core.domain.session import Counters, SessionRecord, SessionSpec
from htcgrid_core.ports.session_store import Claimed, Commit, Refused, SessionStore

NOW = float(int(time.time()))  # the real time, since a store may delete by its own clock what has long expired
LEASE = limits.LEASE_SECONDS
SESSION = "s-contract"
TASK_SECONDS = 0.1  # that each task here takes
FULL_PAGE = 1000  # more than any session here has


def record(
    session_id: str = SESSION,
    *,
    submitted_at: float = NOW,
    name: str = "",
    deadline_at: float | None = None,
    retention_seconds: float = limits.RETENTION_SECONDS,
    pool: str = "default",
    min_agent_version: int = FIRST_AGENT_VERSION,
) -> SessionRecord:
    """A session as its submitter first writes it."""
    spec = SessionSpec(
        function=FunctionSpec(name="pricing.handler"),
        name=name,
        retention_seconds=retention_seconds,
        pool=pool,
        min_agent_version=min_agent_version,
    )
    return SessionRecord(
        session_id=session_id,
        state=SessionState.SUBMITTED,
        spec=spec.model_dump_json(),
        name=name,
        counters=Counters(),
        submitted_at=submitted_at,
        updated_at=submitted_at,
        deadline_at=deadline_at,
        pool=pool,
        retention_seconds=retention_seconds,
    )


def events(first: int, count: int, text: str = "event") -> Payload:
    """The packed events of a block."""
    return Payload.inline(frames.pack([f'"{text} {index}"'.encode() for index in range(first, first + count)]))


def roots(sizes: Sequence[int], session_id: str = SESSION, *, text: str = "event") -> list[tuple[Bundle, Block]]:
    """Root bundles of so many tasks each, with their blocks."""
    pairs = []
    first = 0
    for number, size in enumerate(sizes):
        indexes = range(first, first + size)
        bundle = Bundle(session_id, root_id(number), number, indexes, rank=NOW + number)
        pairs.append((bundle, Block(number, first, size, events(first, size, text))))
        first += size
    return pairs


def submitted(store: SessionStore, sizes: Sequence[int] = (2, 2, 2), session_id: str = SESSION) -> SessionRecord:
    """A session whose bundles are written and that was not acknowledged."""
    store.create_session(record(session_id))
    store.put_bundles(session_id, roots(sizes, session_id), NOW)
    return store.session(session_id, NOW)


def running(
    store: SessionStore,
    sizes: Sequence[int] = (2, 2, 2),
    session_id: str = SESSION,
    *,
    tolerated: int | None = None,
    submitted_at: float = NOW,
    retention_seconds: float = limits.RETENTION_SECONDS,
    min_agent_version: int = FIRST_AGENT_VERSION,
) -> SessionRecord:
    """An acknowledged session."""
    draft = record(
        session_id,
        submitted_at=submitted_at,
        retention_seconds=retention_seconds,
        min_agent_version=min_agent_version,
    )
    store.create_session(draft)
    store.put_bundles(session_id, roots(sizes, session_id), submitted_at)
    return store.acknowledge(session_id, bundles=len(sizes), digest="d", tolerated=tolerated, now=submitted_at)


def in_state(store: SessionStore, state: SessionState, session_id: str = SESSION) -> SessionRecord:
    """A session of six tasks in that state."""
    if state is SessionState.SUBMITTED:
        return submitted(store, session_id=session_id)
    row = running(store, session_id=session_id)
    if state in (SessionState.CANCELLING, SessionState.CANCELLED):
        row = store.advance(session_id, SessionEvent.CANCEL, now=NOW, actor="tester", reason="no need")
    if state is SessionState.CANCELLED:
        row = store.advance(session_id, SessionEvent.DRAIN, now=NOW, actor="tester", reason="no need")
    if state is SessionState.FAILED:
        row = store.advance(session_id, SessionEvent.FAIL, now=NOW, actor="tester", reason="too slow")
    if state is SessionState.COMPLETED:
        row = store.advance(session_id, SessionEvent.COMPLETE, now=NOW, actor="tester")
    assert row.state is state
    return row


def claim(
    store: SessionStore,
    bundle_id: str,
    token: str = "token-1",  # noqa: S107 - a lease's token, no secret
    *,
    now: float = NOW,
    session_id: str = SESSION,
    owner: str = "agent-1",
) -> Claimed | Refused:
    """An agent's claim for one lease time."""
    return store.claim(session_id, bundle_id, token=token, owner=owner, now=now, until=now + LEASE)


def claimed(
    store: SessionStore,
    bundle_id: str,
    token: str = "token-1",  # noqa: S107
    *,
    now: float = NOW,
    session_id: str = SESSION,
    owner: str = "agent-1",
) -> Claimed:
    """A claim that must be granted."""
    answer = claim(store, bundle_id, token, now=now, session_id=session_id, owner=owner)
    assert isinstance(answer, Claimed), f"{bundle_id} was refused: {answer}"
    return answer


def refused(
    store: SessionStore,
    bundle_id: str,
    token: str = "token-2",  # noqa: S107
    *,
    now: float = NOW,
    session_id: str = SESSION,
) -> Refused:
    """A claim that must be refused."""
    answer = claim(store, bundle_id, token, now=now, session_id=session_id, owner="agent-2")
    assert isinstance(answer, Refused), f"{bundle_id} was granted: {answer}"
    return answer


def page(completed: Sequence[int], failed: Sequence[int] = ()) -> Payload | None:
    """Packed outcomes of these tasks; None if there are none."""
    if not completed and not failed:
        return None
    outcomes = Outcomes()
    error = encode_error(TaskError("ValueError", "no"))
    for index in completed:
        outcomes.append(Outcome(index, False, 1, NOW, TASK_SECONDS, b"1", "", ""))
    for index in failed:
        outcomes.append(Outcome(index, True, 1, NOW, TASK_SECONDS, error, "", ""))
    return Payload.inline(codec.pack(outcomes))


def commit(
    held: Claimed | Child,
    completed: Sequence[int] = (),
    failed: Sequence[int] = (),
    *children: Child,
    now: float = NOW,
) -> Commit:
    """What the holder of a lease commits."""
    bundle, lease = held.bundle, held.lease
    assert lease is not None, "only a leased bundle can be committed"
    return Commit(
        session_id=bundle.session_id,
        bundle_id=bundle.bundle_id,
        token=lease.token,
        now=now,
        outcomes=page(completed, failed),
        completed=len(completed),
        failed=len(failed),
        children=children,
        task_seconds=TASK_SECONDS * (len(completed) + len(failed)),
    )


def child(
    parent: Claimed,
    ordinal: int,
    indexes: Sequence[int],
    *,
    failures: Mapping[int, int] | None = None,
    not_before: float = 0.0,
    lease: Lease | None = None,
) -> Child:
    """A bundle that carries on with some of a claimed bundle's tasks."""
    bundle = Bundle(
        session_id=parent.bundle.session_id,
        bundle_id=child_id(parent.bundle, parent.lease.epoch, ordinal),
        root=parent.bundle.root,
        indexes=tuple(indexes),
        failures=dict(failures or {}),
        crashes=parent.bundle.crashes,
        not_before=not_before,
        rank=parent.bundle.rank,
    )
    return Child(bundle, lease)


def continuation(parent: Claimed, ordinal: int, indexes: Sequence[int], *, now: float = NOW) -> Child:
    """A child that stays with the agent that commits."""
    lease = Lease(parent.lease.epoch + 1, f"{parent.lease.token}-again", now + LEASE, parent.lease.owner)
    return child(parent, ordinal, indexes, lease=lease)


def expired(store: SessionStore, now: float, limit: int) -> list[str]:
    """The ids of what ``expire`` has deleted."""
    return [gone.session_id for gone in store.expire(now, limit)]
