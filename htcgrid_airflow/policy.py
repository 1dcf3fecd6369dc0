"""When an ended session fails its Airflow task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from htcgrid_core import Grid, InvalidInput, Progress, Session, SessionState

FailurePolicy = Literal["any", "never"] | int | float


@dataclass(frozen=True, slots=True)
class Counts:
    """Tasks by their ends; of a resubmitted session, of the whole vector."""

    total: int
    completed: int
    failed: int
    cancelled: int


def counts_of(grid: Grid, session: Session, progress: Progress | None = None) -> Counts:
    """The counts of the whole vector: what its parents completed and what is left to this session."""
    own = progress or session.progress()
    parent_id = session.spec.parent_id
    if parent_id is None:
        return Counts(own.total, own.completed, own.failed, own.cancelled)
    before = counts_of(grid, grid.session(parent_id))
    return Counts(before.total, before.completed + own.completed, own.failed, own.cancelled)


def check_policy(policy: FailurePolicy) -> None:
    """Raise InvalidInput unless it is a failure policy."""
    if isinstance(policy, str):
        good = policy in ("any", "never")
    elif isinstance(policy, float):
        good = 0 < policy < 1
    else:
        good = isinstance(policy, int) and not isinstance(policy, bool) and policy >= 0
    if not good:
        raise InvalidInput(f"failure_policy is 'any', 'never', a count or a share between 0 and 1, not {policy!r}")


def tolerated(policy: FailurePolicy, total: int) -> int:
    """How many failed tasks of ``total`` a policy tolerates."""
    if isinstance(policy, str):
        return total if policy == "never" else 0
    return int(policy * total + 1e-9) if isinstance(policy, float) else policy


def is_accepted(policy: FailurePolicy, progress: Progress, counts: Counts) -> bool:
    """Whether the Airflow task succeeds with a session that ended like this."""
    if progress.state is SessionState.CANCELLED:
        return False
    if policy == "never":
        return True
    return counts.cancelled == 0 and counts.failed <= tolerated(policy, counts.total)
