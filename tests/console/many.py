"""Sessions of very many tasks, written as agents would: what runs them is not what is looked at."""

from __future__ import annotations

from array import array

from htcgrid_core import Grid
from htcgrid_core.codecs.outcomes import Outcomes, encode_error
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.commit import commit
from tests.manual_agent import submit, take
from tests.planes import spec

POOL = "nobody"  # whose tasks no agent takes
BUNDLE = 256
ERROR = encode_error(TaskError("ValueError", "no", "Traceback ..."))


def many_tasks(grid: Grid, session_id: str, count: int, done: int, failed: set[int]) -> SessionRecord:
    """A session, of which the tasks of the first ``done`` bundles have ended."""
    plane = plane_of(grid)
    of = spec(bundle_size=BUNDLE, pool=POOL, name=f"{count:,} tasks", max_failures=count)
    submit(plane, session_id, of, range(count), idempotent=False, durable=False)
    for root in range(done):
        end_root(plane, session_id, root, failed)
    return plane.store.session(session_id, plane.clock.now())


def plane_of(grid: Grid) -> Plane:
    """Of a grid of this machine."""
    gateway = grid.gateway
    assert isinstance(gateway, InProcessGateway)
    return gateway.plane


def end_root(plane: Plane, session_id: str, root: int, failed: set[int]) -> None:
    """Commit a root bundle, as an agent does; these of its tasks failed."""
    work = take(plane, Hint(session_id, f"{root:08d}"))
    assert work is not None
    indexes = list(work.bundle.indexes)
    rows = [ERROR if index in failed else b"1" for index in indexes]
    outcomes = Outcomes()
    outcomes.indexes, outcomes.attempts = array("I", indexes), array("H", [1] * len(indexes))
    outcomes.failed = bytearray(index in failed for index in indexes)
    outcomes.started = array("d", [1.8e9 + index / 1e3 for index in indexes])
    outcomes.seconds = array("f", [0.01 + (index % 97) / 1e3 for index in indexes])
    outcomes.lengths, outcomes.data = array("I", map(len, rows)), [*rows]
    outcomes.size = sum(map(len, rows))
    commit(plane, work, outcomes, [], None)
