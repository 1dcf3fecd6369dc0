"""Workers: what an agent runs tasks with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from htcgrid_core.codecs.buffers import Buffer
from htcgrid_core.codecs.outcomes import Outcome, Outcomes
from htcgrid_core.codecs.stored_part import StoredPart
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.domain.session import SessionSpec

STOPPED = "Stopped"  # error type of a worker that was ended for no fault of its task


@dataclass(frozen=True, slots=True)
class OwnGrid:
    """The grid that workers run tasks of, as these are told.

    Attributes:
        url: by which tasks reach it; empty for not at all.
        identity: by which they know it.
        region: of AWS, in which it is; empty for none.
    """

    url: str = ""
    identity: str = ""
    region: str = ""


NO_GRID = OwnGrid()


@dataclass(frozen=True, slots=True)
class FunctionRef:
    """What a worker must have loaded before it runs tasks of a session.

    Attributes:
        key: equal for sessions that may share a loaded worker.
        callable_path: file with the verified cloudpickle of a Python callable, or package; empty for a reference.
        sources_path: file with the source lines of that callable; empty for none.
        launcher: command before that of a worker, which prepares its package and becomes it.
        grid: whose function it is.
        traced_every: each how manieth task is recorded in its session's trace, 0 for none; None where nobody traces
            here, and its submitter decides.
        results_schema: JSON Schema, as text, that its results must fit; empty for none.
    """

    key: str
    session_id: str
    spec: SessionSpec
    callable_path: str = ""
    sources_path: str = ""
    launcher: tuple[str, ...] = ()
    grid: OwnGrid = NO_GRID
    traced_every: int | None = None
    results_schema: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some tasks of one bundle, handed to one worker at once and run in order.

    Attributes:
        serial: identifies the chunk to the agent.
        indexes, attempts: the tasks and the number of this execution.
        lengths, data: their encoded events, lengths in bytes and the bytes one after another; or where these are.
        shared: file of each shared input that the events were submitted with, by its name, DIGEST.CODEC.
    """

    serial: int
    function: FunctionRef
    indexes: Sequence[int]
    attempts: Sequence[int]
    lengths: Sequence[int]
    data: Buffer | StoredPart
    shared: dict[str, str]


@dataclass(frozen=True, slots=True)
class Flushed:
    """Outcomes of the next tasks of a chunk."""

    slot: int
    serial: int
    outcomes: Outcomes


@dataclass(frozen=True, slots=True)
class Refused:
    """A task was not begun: no worker of its runtime can read its event, on no machine."""

    slot: int
    serial: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """The worker of a slot ended; chunks that it held are gone with it.

    Of a worker that several slots share, each slot that it ran a task of hears so.

    Attributes:
        running: (serial, position) of the task that it was running; None if it ran none.
        error: what is charged to that task, unless it is STOPPED.
        seconds: how long that task had been running.
        stdout, stderr: what that task had printed.
    """

    slot: int
    running: tuple[int, int] | None
    error: TaskError
    seconds: float = 0.0
    stdout: str = ""
    stderr: str = ""


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """A worker started but could not load the function: the function's fault."""

    slot: int
    serial: int
    error: TaskError


@dataclass(frozen=True, slots=True)
class StartFailed:
    """No worker could be started on this machine: not the function's fault."""

    slot: int
    serial: int
    reason: str


@dataclass(frozen=True, slots=True)
class Waits:
    """A task waits for sessions of the grid that runs it, or, if there are none, for no session any more."""

    slot: int
    serial: int
    position: int
    session_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Used:
    """What a worker measured of tasks of one chunk, before it told the last one's outcome.

    Attributes:
        tasks: that it ran one after another.
        peak_mb: the most memory (MiB) that was resident meanwhile; 0 where nobody says.
        cpu_seconds: processor time.
        seconds: time.
    """

    slot: int
    serial: int
    tasks: int
    peak_mb: float
    cpu_seconds: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Rung:
    """The agent's bell was rung: there may be work, or a session may have ended."""


WorkerEvent = Flushed | Refused | WorkerLost | LoadFailed | StartFailed | Waits | Used | Rung


class WorkerPool(Protocol):
    """A fixed number of slots, each with at most one worker; as many more are used while tasks wait for others."""

    slots: int

    def run(self, slot: int, chunk: Chunk) -> None:
        """Queue a chunk on a slot, starting a worker for its function if the slot has none."""

    def wait(self, timeout_seconds: float) -> list[WorkerEvent]:
        """What happened; waits for the first event, a ring of the agent's bell, or the timeout."""

    def running(self, slot: int) -> tuple[int, int, float] | None:
        """(serial, position, monotonic start) of the task a slot runs now; None between tasks."""

    def printed(self, slot: int) -> tuple[str, str]:
        """The last of what the task that a slot runs now has printed to stdout and stderr, where that is at hand."""

    def resident_bytes(self, slot: int) -> int | None:
        """The memory that the slot's worker and its children have now; None where nobody says.

        May be called in any thread: a worker that ends meanwhile has none.
        """

    def revoke(self, slot: int) -> list[tuple[int, int]]:
        """Take back what the slot has not begun: (serial, first position taken) of each chunk concerned.

        A task may be running and taken back at once if it began just then; its second outcome is dropped.
        """

    def kill(self, slot: int, error: TaskError) -> None:
        """Kill the slot's worker and all its children; a WorkerLost with this error follows."""

    def refuse(self, slot: int, serial: int, position: int) -> None:
        """Tell a task that waits that no worker can be lent for what it waits for."""

    def discard(self, slot: int) -> None:
        """End the slot's worker, which runs nothing, without an event."""

    def missing(self) -> str:
        """What has to come before tasks can be run at all, for people; empty if nothing has."""

    def close(self) -> None:
        """Kill every worker."""
