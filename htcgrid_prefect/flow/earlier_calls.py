"""The calls that an earlier process of a flow run has submitted: what a flow run that was killed may reattach to."""

from __future__ import annotations

import hashlib
import io
import time
from collections import deque
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import cloudpickle
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateType
from prefect.context import FlowRunContext

from htcgrid_core import Grid, Session, SessionState
from htcgrid_prefect.flow.run_identity import FLOW_RUN_LABEL, TASK_LABEL, TASK_RUN_LABEL

SESSIONS_AT_MOST = 10_000
_ended_here: dict[UUID, float] = {}
"""When this process last ended an attempt of a flow run: what `retries` of a flow run again, as with any runner."""


@dataclass(frozen=True, slots=True, eq=False)
class EarlierCall:
    """A call that is on the grid.

    Attributes:
        index: of its task in the session.
        run_id: of its task run.
    """

    session: Session
    index: int
    run_id: UUID


class EarlierCalls:
    """The calls of sessions that nobody waits for any more.

    A call is found again by the name of its task and by its arguments; of equal ones, each is found once.
    """

    def __init__(self, sessions: list[Session]) -> None:
        self.sessions: set[Session] = set()
        self._calls: dict[tuple[str, bytes], deque[EarlierCall]] = {}
        for session in sessions:
            self._add(session)

    def _add(self, session: Session) -> None:
        progress = session.progress()
        if progress.state is SessionState.SUBMITTED:
            session.cancel("the process that submitted it ended while it did")
            return
        ended = None  # all of them will
        if progress.cancelled:
            ended = {task.index for _, page in session.pages() for task in page}
        self.sessions.add(session)
        for index, event in enumerate(session.events()):
            if ended is None or index in ended:
                run_id = event[0] if isinstance(event[0], UUID) else UUID(bytes=event[0])
                key = session.labels[TASK_LABEL], _digest(event[1:3])
                self._calls.setdefault(key, deque()).append(EarlierCall(session, index, run_id))

    def take(self, task_name: str, event: tuple[Any, ...]) -> EarlierCall | None:
        """The call that this event would make once more; None if there is none."""
        if not self._calls:
            return None
        try:
            arguments = cloudpickle.loads(cloudpickle.dumps(event[1:3]))  # as those that are compared with have been
            key = task_name, _digest(arguments)
        except BaseException:  # noqa: BLE001 - whoever submits it is told
            return None
        found = self._calls.get(key)
        if not found:
            return None
        earlier = found.popleft()
        if not found:
            del self._calls[key]
        return earlier


def earlier_calls(grid: Grid) -> EarlierCalls | None:
    """What a process that was killed has left of this flow run; None on its first start.

    An attempt that ended in good order has cancelled what it did not wait for, and its results are not reused:
    whoever runs it again wants it to run.
    """
    context = FlowRunContext.get()
    run = context and context.flow_run
    if not run or run.run_count <= 1:
        return None
    since = max(_ended_here.get(run.id, 0.0), _ended_in_good_order(run.id))
    found = [
        session
        for session in reversed(_of_run(grid, str(run.id)))
        if TASK_LABEL in session.labels
        and TASK_RUN_LABEL not in session.labels  # of a task, which looks after it
        and session.progress().submitted_at > since
    ]
    return EarlierCalls(found) if found else None


def _of_run(grid: Grid, run_id: str) -> list[Session]:
    """All of them, or calls of a region that does not answer would be made a second time."""
    return grid.sessions(labels={FLOW_RUN_LABEL: run_id}, limit=SESSIONS_AT_MOST, every_region=True)


def end_in_good_order(flow_run_id: UUID | None) -> None:
    """Note that this process has ended an attempt of the flow run."""
    if flow_run_id is not None:
        _ended_here[flow_run_id] = time.time()


def _ended_in_good_order(flow_run_id: UUID) -> float:
    ends = {StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED}
    with get_client(sync_client=True) as client:
        states = client.read_flow_run_states(flow_run_id)
    return max((state.timestamp.timestamp() for state in states if state.type in ends), default=0.0)


class _Digester(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    """Pickles for comparing: sets in one order, and of states only which they are."""

    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, State):
            return "state", str(value.id)
        if isinstance(value, set | frozenset):
            return type(value).__name__, tuple(sorted(map(_digest, value)))
        return None


def _digest(value: Any) -> bytes:
    pickled = io.BytesIO()
    _Digester(pickled, protocol=5).dump(value)
    return hashlib.blake2b(pickled.getbuffer(), digest_size=16).digest()
