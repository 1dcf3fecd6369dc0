"""What the end of an environment means for each slot that it served."""

from __future__ import annotations

import time

from htcgrid_core.agent.workers.crashes import crash_of, how_it_ended
from htcgrid_core.agent.workers.native.process import TOO_SLOW
from htcgrid_core.agent.workers.runtime_api import invocation
from htcgrid_core.agent.workers.runtime_api.invocation import Invocation
from htcgrid_core.agent.workers.runtime_api.sandbox import Sandbox
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.ports.worker import STOPPED, LoadFailed, StartFailed, WorkerLost

HUNG_UP = TaskError("WorkerCrashed", "the process that ran it, one of its environment's, ended")
BESIDE = TaskError(STOPPED, "its environment ended with another task")

Told = LoadFailed | StartFailed | WorkerLost


def events_of_end(
    sandbox: Sandbox, returncode: int, printed: tuple[str, str], machines_fault: str
) -> tuple[list[Told], set[str]]:
    """What slots are told of an environment that has ended; another one goes on with what the others wait for.

    A task is charged with it if it ran over its time, if its client is known to have ended, or if it ran alone. If it
    may have been any of several, none is charged, and each of them runs alone the next time.

    Args:
        returncode: of its process.
        printed: stdout and stderr since its last outcome.
        machines_fault: why this machine could not unpack its package, if so.

    Returns:
        The events, and request ids of those that are to run alone.
    """
    charged = {slot: _explained(error, printed[1]) for slot, error in sandbox.blamed.items()}
    if not charged and sandbox.failed is None and len(sandbox.running) == 1:
        crash = crash_of(returncode, sandbox.function, 0, printed[1])
        charged = dict.fromkeys(sandbox.running, crash)
    events: list[Told] = [
        _lost(now, charged.get(slot, BESIDE), printed if slot in charged else ("", ""))
        for slot, now in sandbox.running.items()
    ]
    events += [WorkerLost(slot, None, error) for slot, error in charged.items() if slot not in sandbox.running]
    alone = set()
    if not charged and sandbox.failed is None:
        alone = {invocation.request_id(now.chunk, now.position) for now in sandbox.running.values()}
    waiting = sandbox.waiting.slots({event.slot for event in events})
    if waiting and machines_fault:
        reason = f"a worker could not be started: {machines_fault}"
        events += [StartFailed(slot, _serial(sandbox, slot), reason) for slot in waiting]
    elif waiting and not sandbox.ready and not charged:
        # One failure to load, charged to one task: the others' slots let go of theirs.
        error = _not_loaded(sandbox, returncode, "".join(printed))
        events.append(LoadFailed(waiting[0], _serial(sandbox, waiting[0]), error))
        events += [WorkerLost(slot, None, BESIDE) for slot in waiting[1:]]
    return events, alone


def _explained(error: TaskError, log: str) -> TaskError:
    """With what was printed to stderr, where that is all there is."""
    return TaskError(error.type, error.message, log) if error is HUNG_UP else error


def _lost(now: Invocation, error: TaskError, printed: tuple[str, str]) -> WorkerLost:
    at = (now.chunk.serial, now.position)
    return WorkerLost(now.slot, at, error, time.monotonic() - now.started, *printed)


def _serial(sandbox: Sandbox, slot: int) -> int:
    first = sandbox.waiting.first(slot)
    assert first is not None, "it waits"
    return first[0].serial


def _not_loaded(sandbox: Sandbox, returncode: int, log: str) -> TaskError:
    error = sandbox.load_error
    if error is None:
        how = TOO_SLOW.message if sandbox.failed is TOO_SLOW else how_it_ended(returncode)
        package = sandbox.function.spec.function.package
        name = f"{package.handler} ({package.runtime})" if package else ""
        error = TaskError("InitError", f"the worker {how} before it asked for a task of {name}")
    text = f"{error.traceback}\nprinted while loading:\n{log}" if log else error.traceback
    return TaskError(error.type, error.message, text)
