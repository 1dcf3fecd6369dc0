"""Clients inside of tasks: what they wait for on the grid that runs them, and modules that submit when imported."""

from __future__ import annotations

import sys
from collections.abc import Collection
from types import FrameType

from htcgrid_core.domain.errors import InvalidInput, WouldDeadlock
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.domain.this_worker import ThisWorker, this_worker
from htcgrid_core.ports.plane import Plane

_IMPORT_SYSTEM = "<frozen importlib._bootstrap>"


def _own_worker(plane: Plane) -> ThisWorker | None:
    """The worker that this process is, if it runs tasks of this very grid."""
    worker = this_worker()
    return worker if worker is not None and worker.grid == plane.identity else None


def wait_for(plane: Plane, who: object, session_ids: Collection[str]) -> None:
    """A task waits for sessions; without any, it does so no more. Its agent is told, and lends them a worker.

    Raises:
        WouldDeadlock: the agent has lent as many as it has slots, each to a task that waits.
    """
    worker = _own_worker(plane)
    if worker is not None and worker.waits(who, session_ids):
        worker.waits(who, ())
        waited = ", ".join(sorted(session_ids)[:3])
        raise WouldDeadlock(
            f"this task waits for session {waited} of the grid that runs it, and its agent has no worker left for that:"
            " as many tasks as it has slots wait likewise, and one more was started for each of them. The session goes"
            " on when they are done. Give the grid more slots, let tasks wait less deep, or wait outside of tasks"
        )


def looked_at(plane: Plane, record: SessionRecord) -> None:
    """A task has read how far a session is: who does so again and again waits, too."""
    worker = _own_worker(plane)
    if worker is not None:
        worker.looked(record.session_id, ended=record.ended)


def check_not_importing() -> None:
    """A worker that imports a module must not run what stands in it behind no ``__main__`` guard.

    Raises:
        InvalidInput: this is called by a module that a worker is importing.
    """
    worker = this_worker()
    if worker is None:
        return
    module = _importing(sys._getframe())
    if module or worker.is_loading:
        raise InvalidInput(
            f"module {module or 'of the function'} submits to a grid when it is imported, and the grid's workers import"
            ' it to run its functions: put what submits under `if __name__ == "__main__":`, or into a function'
        )


def _importing(frame: FrameType | None) -> str:
    """The module that is being imported by whoever calls; empty if none is."""
    module = ""
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT_SYSTEM:
            return module or "that is being imported"
        if frame.f_code.co_name == "<module>":
            module = str(frame.f_globals.get("__name__", ""))
        frame = frame.f_back
    return ""
