"""What must have come of a simulated grid's sessions at the end, whatever faults there were."""

from __future__ import annotations

from typing import Any, Protocol

from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.adapters.local.sqlite.outbox import SqliteOutbox
from htcgrid_core.adapters.local.sqlite.store import SqliteStore
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.ports.keyring import Keyring
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.results import in_index_order
from htcgrid_core.testing.simulator.invariants import Violated, error_type
from htcgrid_core.testing.simulator.outside import Outside
from htcgrid_core.testing.simulator.planes import MemoryBlobs, SimulatedDoorbell, SimulatedQueue
from htcgrid_core.testing.simulator.wishes import Wish, expected
from htcgrid_core.testing.simulator.world import VirtualClock, World


class Simulated(Protocol):
    """What there is of a simulated grid."""

    world: World
    wishes: list[Wish]
    executions: dict[tuple[str, int], int]
    database: Database
    store: SqliteStore
    outbox: SqliteOutbox
    outside: Outside
    queue: SimulatedQueue
    blobs: MemoryBlobs
    doorbell: SimulatedDoorbell


def all_ended(run: Simulated) -> bool:
    """Whether every session that somebody still wants has ended, and whoever is told of it was."""
    ended = ("COMPLETED", "FAILED", "CANCELLED")
    rows = _rows(run)
    waited_for = [wish for wish in run.wishes if wish.persistent and not wish.acknowledged]
    pending = [wish for wish in waited_for if rows.get(wish.session_id) not in ended]
    if any(due.session_id in rows for due in run.outbox.pending()):
        return False
    return not pending and bool(rows) and all(state in ended for state in rows.values())


def check_end(run: Simulated) -> None:
    """S1, S2 and S9: what was acknowledged has ended, and each of its tasks once, with its own result.

    Raises:
        Violated: it is not so.
    """
    rows = _rows(run)
    for wish in run.wishes:
        state = rows.get(wish.session_id)
        if wish.acknowledged and state not in ("COMPLETED", "FAILED", "CANCELLED"):
            raise Violated(f"S1: {wish.session_id} was acknowledged and is {state} an hour after the last fault")
        if state == "SUBMITTED":
            raise Violated(f"S1: {wish.session_id} was given up by its submitter and by nobody else")
        if wish.acknowledged:
            _check_tasks(run, wish)
        if wish.acknowledged and wish.notifies:
            run.outside.check_end(wish.session_id, wish.token, run.database.connection())


def _check_tasks(run: Simulated, wish: Wish) -> None:
    plane = _quiet_plane(run)
    record = run.store.session(wish.session_id, 0.0)
    if record.counters.total != len(wish.events):
        raise Violated(f"S1: {wish.session_id} has {record.counters.total} tasks, not {len(wish.events)}")
    found = list(in_index_order(plane, record, wish.spec))
    if [index for index, _ in found] != list(range(len(wish.events))):
        raise Violated(f"S1: {wish.session_id} does not list each of its tasks once")
    for index, outcome in found:
        event = wish.events[index]
        if outcome is None:
            if not wish.is_cut_short:
                raise Violated(f"S1: task {index} of {wish.session_id} was lost")
        elif outcome.failed:
            if event["kind"] in ("ok", "flaky", "hungry") and error_type(outcome) not in ("AgentLost", "Wanted"):
                raise Violated(f"task {index} of {wish.session_id} failed: {error_type(outcome)}")
        elif outcome.payload != expected({**event, "session": wish.session_id}):
            raise Violated(f"S9: task {index} of {wish.session_id} has another's result")
        elif not run.executions.get((wish.session_id, index)):
            raise Violated(f"S2: task {index} of {wish.session_id} has a result and never ran")


def _quiet_plane(run: Simulated) -> Plane:
    clock = VirtualClock(run.world)
    return Plane(run.store, run.queue, run.blobs, clock, run.doorbell, Keyring.of(b"simulated"), 2.0)


def check_replay(run: Simulated) -> None:
    """S8: every message ever sent, once more, changes nothing.

    Raises:
        Violated: it does.
    """
    before = _settled(run)
    for pool, hint in list(run.queue.ever_sent):
        run.queue.send(pool, [hint])
    run.world.run(run.world.now + 120.0)
    after = _settled(run)
    for session_id, row in before.items():
        if after.get(session_id) != row:
            raise Violated(f"S8: replayed messages made {after.get(session_id)} of {row}")


def _settled(run: Simulated) -> dict[str, tuple[Any, ...]]:
    """Ended sessions with their counters and the number of their pages."""
    rows = run.database.connection().execute(
        "SELECT id, state, total, completed, failed, cancelled,"
        " (SELECT count(*) FROM outcomes WHERE session_id = id) FROM sessions WHERE live = 0 AND bundles >= 0"
    )
    return {row[0]: row for row in rows}


def _rows(run: Simulated) -> dict[str, SessionState]:
    return dict(run.database.connection().execute("SELECT id, state FROM sessions").fetchall())
