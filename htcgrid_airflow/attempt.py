"""Exactly one session for each logical attempt of an Airflow task.

The sessions of a task stand in a chain of tokens made from dag, run, task, map index and generation: position 0 is the
first submission, each later one a resubmission. A clear starts another generation, and so another chain. Which session
is the current one can thus always be asked of the grid, whatever was lost with a worker.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from htcgrid_core import (
    Grid,
    Progress,
    Session,
    SessionConflict,
    SessionNotFound,
    SessionState,
    session_id_of,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

STORE_KEY = "htcgrid"  # in the task state store
KILLED = "Airflow ended the task"  # how the reason of a cancel by on_kill begins
CHAIN_BATCH = 16

Submit = Callable[[str], Session]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task instance stands; what makes its tokens.

    Attributes:
        base: of all its tokens; the user's, if given.
        generation: the same for an attempt and its retries, another one after a clear.
        owner: this attempt: a new one with each try.
        tenant: on whose behalf its sessions run.
    """

    base: str
    generation: str
    owner: str
    tenant: str

    def token(self, position: int) -> str:
        """The idempotency token of a position in the chain."""
        return f"{self.base}/{self.generation}/{position}"

    def session_id(self, position: int) -> str:
        """The id of the session there."""
        return session_id_of(self.token(position), self.tenant)


def place_of(context: Context, tenant: str, token: str | None = None) -> Place:
    """The place of the task that runs.

    A clear raises ``max_tries`` and keeps the tries made, a retry does not. A run that was deleted and made again
    under the same id began at another time.

    Args:
        tenant: on whose behalf its sessions run.
        token: the user's own, under which whoever uses it shares a session.
    """
    ti: Any = context["ti"]
    key = "/".join((ti.dag_id, ti.run_id, ti.task_id, str(ti.map_index)))
    began = getattr(context.get("dag_run"), "start_date", None)
    if token:
        return Place(token, "user", str(ti.id), tenant)
    generation = f"{began.isoformat() if began else ''}/{ti.max_tries}"
    digest = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
    return Place(f"airflow/{digest}", generation, str(ti.id), tenant)


@dataclass(frozen=True, slots=True)
class Opened:
    """The session of this attempt, and how it came to it: submitted, re-attached or resubmitted."""

    session: Session
    how: str


class Attempt:
    """This attempt of a task, on a grid.

    Args:
        store: the task state store, where Airflow has one (3.3 and later).
        durable: whether a retry comes back to the session of the attempt before.
        failed_only: whether a retry submits only what failed or was cancelled.
        accepted: whether an ended session is good enough, so that it is not submitted again.
    """

    def __init__(
        self,
        grid: Grid,
        place: Place,
        store: Any | None,
        *,
        durable: bool = True,
        failed_only: bool = True,
        accepted: Callable[[Session], bool] = lambda session: session.progress().state is SessionState.COMPLETED,
    ) -> None:
        self.grid = grid
        self.place = place
        self.store = store
        self.durable = durable
        self.failed_only = failed_only
        self.accepted = accepted

    def open(self, submit: Submit) -> Opened:
        """Come back to the attempt's session, or submit it; from now on it is this attempt's.

        Args:
            submit: submits the whole vector under a token.
        """
        self._leave_other_generations()
        chain = self.chain()
        if not chain:
            return self._new(submit, 0)
        position = len(chain) - 1
        if not self.durable:
            self._take_and_cancel(chain[-1].session_id)
            return self._new(submit, position + 1)
        last = chain[-1]
        if last.state is SessionState.SUBMITTED:
            return self._carry_on(submit, position)
        session = self.grid.session(last.session_id)
        if not last.ended or self.accepted(session):
            return self._adopted(session, "re-attached")
        if not self.failed_only or last.reason.startswith(KILLED):
            return self._new(submit, position + 1)
        self._note(position + 1)
        return self._adopted(self.grid.resubmit(session, token=self.place.token(position + 1)), "resubmitted")

    def chain(self) -> list[Progress]:
        """The sessions of this generation, oldest first."""
        found: list[Progress] = []
        while True:
            ids = [self.place.session_id(len(found) + ahead) for ahead in range(CHAIN_BATCH)]
            known = {progress.session_id: progress for progress in self.grid.progress(ids)}
            for session_id in ids:
                if session_id not in known:
                    return found
                found.append(known[session_id])

    def current(self) -> Session | None:
        """The newest session of this generation."""
        chain = self.chain()
        return self.grid.session(chain[-1].session_id) if chain else None

    def _new(self, submit: Submit, position: int) -> Opened:
        self._note(position)
        return self._adopted(submit(self.place.token(position)), "submitted")

    def _carry_on(self, submit: Submit, position: int) -> Opened:
        """A worker died while it submitted: submit the same again, which goes on from there."""
        try:
            return self._new(submit, position)
        except SessionConflict:  # the DAG or its input has changed meanwhile, or its events are never twice the same
            self._take_and_cancel(self.place.session_id(position))
            return self._new(submit, position + 1)

    def _adopted(self, session: Session, how: str) -> Opened:
        session.adopt(self.place.owner)
        return Opened(session, how)

    def _note(self, position: int) -> None:
        """Before submitting: what a later generation must know in order to leave nothing running."""
        if self.store is not None:
            place = self.place
            noted = {
                "generation": place.generation,
                "session_id": place.session_id(position),
                "grid": self.grid.url,
            }
            self.store.set(STORE_KEY, noted)

    def _leave_other_generations(self) -> None:
        noted = self.store.get(STORE_KEY) if self.store is not None else None
        if isinstance(noted, Mapping) and noted.get("generation") != self.place.generation:
            self._take_and_cancel(str(noted["session_id"]))

    def _take_and_cancel(self, session_id: str) -> None:
        with contextlib.suppress(SessionNotFound):
            session = self.grid.session(session_id)
            session.adopt(self.place.owner)
            session.cancel("a newer attempt of its Airflow task starts afresh", owner=self.place.owner)


def cancel_if_owned(grid: Grid, session_id: str, owner: str, reason: str) -> Progress | None:
    """Cancel a session unless a newer attempt owns it; None if there is no such session."""
    try:
        return grid.session(session_id).cancel(reason, owner=owner)
    except SessionNotFound:
        return None
