"""Sweep: now and then, delete functions, packages and shared inputs that nobody has used for a long time.

Every use sets the clock of a blob back: ``grid.put``, a submission that refers to it, a deployment, an agent that runs
it. So what is deleted is in no session that runs, and what a submission refers to is there for weeks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import CorruptPayload, IncompatibleGrid
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import functions, invocations
from htcgrid_core.services.direct_parts import INCOMING
from htcgrid_core.services.ownership import OWNED
from htcgrid_core.services.uploads import UPLOADS

SHARED, CALLABLES, PACKAGES, SESSIONS = "shared/", "functions/", "packages/", "sessions/"
UNUSED = (SHARED, CALLABLES, OWNED, UPLOADS, INCOMING)


@dataclass
class Swept:
    """What one sweep did.

    Attributes:
        deleted: keys.
        problem: why packages were left alone, if they were.
    """

    deleted: list[str] = field(default_factory=list)
    problem: str = ""


def is_time(plane: Plane, tick_seconds: float) -> bool:
    """Whether this tick, of many that several processes do, is one for a sweep: about one an hour is."""
    return plane.rng.random() < tick_seconds / limits.SWEEP_SECONDS


def sweep(plane: Plane) -> Swept:
    """One sweep; many at once do no harm."""
    before = plane.clock.now() - limits.UNUSED_BLOB_SECONDS
    blobs, done = plane.blobs, Swept()
    for prefix in UNUSED:
        done.deleted += blobs.delete_unused(prefix, before, lambda _: False)
    done.deleted += invocations.sweep(plane)
    plane.audit.prune(plane.clock.now())
    try:
        deployed = {version.blob for version in functions.everything(plane)}
    except (CorruptPayload, IncompatibleGrid) as error:
        done.problem = f"packages are kept, since it is not known which are deployed: {error}"
    else:
        done.deleted += blobs.delete_unused(PACKAGES, before, deployed.__contains__)
    done.deleted += blobs.delete_unused(SESSIONS, before, _SessionExists(plane))
    return done


class _SessionExists:
    """Whether the session of a blob exists: a crash may have left the blobs of one that does not."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._answers: dict[str, bool] = {}

    def __call__(self, key: str) -> bool:
        session_id = key.removeprefix(SESSIONS).partition("/")[0]
        if session_id not in self._answers:
            # Also if it has expired: then ``reconcile`` deletes them.
            found = self._plane.store.progress([session_id], float("-inf"))
            self._answers[session_id] = bool(found)
        return self._answers[session_id]
