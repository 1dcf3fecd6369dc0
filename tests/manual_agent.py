"""A client and an agent by hand: submit; claim, call a function for each task and commit, all through the services."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass, replace
from typing import Any

from htcgrid_core.codecs.events import encoded
from htcgrid_core.codecs.outcomes import Outcome, Outcomes, encode_error
from htcgrid_core.codecs.values import DECODERS, ENCODERS
from htcgrid_core.domain import limits
from htcgrid_core.domain.bundle import Child, child_id, child_of, split
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.domain.session import SessionRecord, SessionSpec
from htcgrid_core.ports.bundle_queue import Hint, Message
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.claim import Work, claim
from htcgrid_core.services.commit import commit
from htcgrid_core.services.submit import submit as submit_encoded


def submit(
    plane: Plane,
    session_id: str,
    spec: SessionSpec,
    events: Iterable[Any],
    *,
    idempotent: bool,
    durable: bool = True,
    progress: Callable[[int], None] | None = None,
) -> SessionRecord:
    """Submit as a client does, which encodes the events."""
    return submit_encoded(
        plane,
        session_id,
        spec,
        encoded(spec.codec, events),
        total=len(events) if isinstance(events, Sized) else None,
        idempotent=idempotent,
        durable=durable,
        progress=progress,
    )


def parse(record: SessionRecord) -> SessionSpec:
    """A session's spec."""
    return SessionSpec.model_validate_json(record.spec)


def take(plane: Plane, hint: Hint, agent_id: str = "agent-1") -> Work | None:
    """Claim one bundle."""
    return _claim(plane, Message(hint), agent_id)


def _claim(plane: Plane, message: Message, agent_id: str = "agent-1") -> Work | None:
    return claim(plane, message, agent_id=agent_id, lease_seconds=limits.LEASE_SECONDS, spec_of=parse)


def events_of(work: Work) -> dict[int, Any]:
    """The decoded events of a bundle's tasks, by index."""
    assert work.events is not None, work.corrupt
    payloads = work.events.payloads()
    return {index: DECODERS[work.spec.codec](payloads[index - work.first_index]) for index in work.bundle.indexes}


@dataclass(frozen=True)
class Done:
    """What running some tasks came to.

    Attributes:
        retries: tasks that failed with attempts left, with their failures so far.
        moved: those of them that go on in the larger pool.
    """

    outcomes: Outcomes
    retries: dict[int, int]
    moved: frozenset[int] = frozenset()


def run(plane: Plane, work: Work, function: Callable[[Any], Any], indexes: Sequence[int] | None = None) -> Done:
    """Call ``function`` with each event, as a worker does; what it raises is a failure."""
    outcomes, retries, moved = Outcomes(), {}, set()
    events = events_of(work)
    for index in work.bundle.indexes if indexes is None else indexes:
        attempt = work.bundle.attempt(index)
        try:
            payload, failed = ENCODERS[work.spec.codec](function(events[index])), False
        except Exception as error:
            failures = work.bundle.failures.get(index, 0) + 1
            if work.spec.retry.moves_from(work.bundle.pool or work.session.pool, type(error).__name__):
                retries[index] = failures
                moved.add(index)
                continue
            if work.spec.retry.allows(failures, type(error).__name__):
                retries[index] = failures
                continue
            payload, failed = encode_error(TaskError(type(error).__name__, str(error), "trace")), True
        outcomes.append(Outcome(index, failed, attempt, plane.clock.now(), 0.5, payload, "", ""))
    return Done(outcomes, retries, frozenset(moved))


def children(plane: Plane, work: Work, done: Done, size: int = limits.MAX_BUNDLE_TASKS) -> list[Child]:
    """The bundles that carry on: what was not run, and what is to be run again."""
    bundle = work.bundle
    found: list[Child] = []
    settled = {*done.outcomes.indexes, *done.retries}
    rest = [index for index in bundle.indexes if index not in settled]
    for piece in split(rest, size):
        found.append(Child(child_of(bundle, child_id(bundle, work.lease.epoch, len(found)), list(piece))))
    alike = {index: (count, index in done.moved) for index, count in done.retries.items()}
    for failures, is_moved in sorted(set(alike.values())):
        indexes = [index for index, of in alike.items() if of == (failures, is_moved)]
        delay = work.spec.retry.delay_seconds(failures, plane.rng)
        child = child_of(
            bundle, child_id(bundle, work.lease.epoch, len(found)), indexes, not_before=plane.clock.now() + delay
        )
        pool = (work.spec.retry.on_out_of_memory or "") if is_moved else bundle.pool
        found.append(Child(replace(child, failures=dict.fromkeys(indexes, failures), pool=pool)))
    return found


def work_on(plane: Plane, function: Callable[[Any], Any], *, bundles: int | None = None, pool: str = "default") -> int:
    """Run what the queue shows until it shows no more, or so many bundles; how many were committed."""
    committed = 0
    while bundles is None or committed < bundles:
        messages = plane.queue.receive(pool, 1000, plane.clock.now()).messages
        works = ((_claim(plane, message), message) for message in messages)
        work, message = next(((work, message) for work, message in works if work is not None), (None, None))
        if work is None:
            break
        done = run(plane, work, function)
        commit(plane, work, done.outcomes, children(plane, work, done), message)
        committed += 1
    return committed


def finish(plane: Plane, function: Callable[[Any], Any], pool: str = "default") -> None:
    """Run everything, retries included: time passes as it has to."""
    while True:
        work_on(plane, function, pool=pool)
        wake_at = plane.queue.receive(pool, 1, plane.clock.now()).wake_at
        if wake_at is None:
            return
        plane.clock.sleep(max(0.0, wake_at - plane.clock.now()) + 0.001)
