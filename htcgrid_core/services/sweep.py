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
from htcgrid_core.services.deletion import UNFOLDED
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
    done.deleted += blobs.delete_unused(SESSIONS, before, _IsOfASession(plane))
    return done


class _IsOfASession:
    """Whether a blob is of a session that exists: a crash may have left those of one that does not."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._folders: dict[str, tuple[str, ...]] = {}

    def __call__(self, key: str) -> bool:
        session_id, _, rest = key.removeprefix(SESSIONS).partition("/")
        folder = rest.partition("/")[0]
        if session_id not in self._folders:
            # Also if it has expired: then ``reconcile`` deletes them.
            found = self._plane.store.progress([session_id], float("-inf"))
            if found and found[0].damage:  # which is its folder cannot be told
                return True
            # Beside its folder are outcomes that agents of a release without folders have written.
            beside = (each.rstrip("/") for each in UNFOLDED)
            self._folders[session_id] = (found[0].folder, *beside) if found else ()
        return folder in self._folders[session_id]
