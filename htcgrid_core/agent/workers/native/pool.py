"""Native Python workers: long-lived child processes, one a slot, each in its own process group."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator

from htcgrid_core.agent.workers import captured_output
from htcgrid_core.agent.workers.crashes import crash_of, how_it_ended
from htcgrid_core.agent.workers.environment import python_of, surroundings
from htcgrid_core.agent.workers.family import resident_bytes
from htcgrid_core.agent.workers.launch import BAD_MACHINE, BAD_PACKAGE
from htcgrid_core.agent.workers.native.process import TOO_SLOW, Process
from htcgrid_core.codecs.outcomes import Outcome, encode_error
from htcgrid_core.domain import metrics
from htcgrid_core.domain.errors import CorruptPayload, GridUnavailable
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.ports.doorbell import Bell
from htcgrid_core.ports.metrics import NO_METRICS, Metrics
from htcgrid_core.ports.worker import (
    Chunk,
    FunctionRef,
    LoadFailed,
    Refused,
    Rung,
    StartFailed,
    WorkerEvent,
    WorkerLost,
)

CAPTURE_CHECK_SECONDS = 1.0


class NativeWorkers:
    """A WorkerPool of child processes running ``worker_main``."""

    def __init__(
        self, slots: int, bell: Bell | None, count: Metrics = NO_METRICS, threads_each: int | None = None
    ) -> None:
        self.slots = slots
        self._threads_each = threads_each
        self._count = count
        self._bell = bell
        self._processes: dict[int, Process] = {}
        self._by_fd: dict[int, Process] = {}
        self._poll = select.poll()
        self._events: list[WorkerEvent] = []
        self._last_serial = 0
        self._capture_check_at = time.monotonic() + CAPTURE_CHECK_SECONDS
        if bell is not None and bell.fileno() >= 0:
            self._poll.register(bell.fileno(), select.POLLIN)

    # The port

    def run(self, slot: int, chunk: Chunk) -> None:
        """Queue a chunk on a slot, starting or replacing its worker if need be."""
        process = self._processes.get(slot)
        if process is not None and process.surroundings != surroundings(chunk.function):
            self._discard(process)
            process = None
        if process is None:
            try:
                process = self._start(slot, chunk.function)
            except OSError as error:
                if why := _missing_place(chunk.function):
                    self._events.append(LoadFailed(slot, chunk.serial, TaskError("InitError", f"{why}: {error}")))
                    return
                self._events.append(StartFailed(slot, chunk.serial, f"a worker could not be started: {error}"))
                return
        self._last_serial = max(self._last_serial, chunk.serial)
        try:
            process.give(chunk)
        except CorruptPayload as error:
            self._events += _refused(slot, chunk, error)
            return
        except GridUnavailable as error:  # its tasks are not to blame
            self._events.append(StartFailed(slot, chunk.serial, f"a worker's events could not be read: {error}"))
            return
        if process.has_unsent:
            self._watch_writing(process)

    def wait(self, timeout_seconds: float) -> list[WorkerEvent]:
        """What happened; waits for the first event, a ring of the agent's bell, or the timeout."""
        if not self._events:
            for fd, flags in self._poll.poll(max(0.0, timeout_seconds) * 1000.0):
                if self._bell is not None and fd == self._bell.fileno():
                    self._bell.clear()
                    self._events.append(Rung())
                elif (process := self._by_fd.get(fd)) is not None:
                    self._on_ready(process, fd, flags)
            self._check_times()
        events, self._events = self._events, []
        return events

    def running(self, slot: int) -> tuple[int, int, float] | None:
        """(serial, position, monotonic start) of the task a slot runs now; None between tasks."""
        process = self._processes.get(slot)
        return None if process is None else process.running()

    def printed(self, slot: int) -> tuple[str, str]:
        """The last of what the task that a slot runs now has printed to stdout and stderr."""
        process = self._processes.get(slot)
        if process is None or process.running() is None:
            return "", ""
        return captured_output.last_of(process.stdout), captured_output.last_of(process.stderr)

    def process_id(self, slot: int) -> int | None:
        """Of the slot's worker, if there is one."""
        process = self._processes.get(slot)
        return None if process is None else process.popen.pid

    def resident_bytes(self, slot: int) -> int | None:
        """The memory that the slot's worker and its children have now; None where nobody says."""
        pid = self.process_id(slot)
        return None if pid is None else resident_bytes(pid)

    def revoke(self, slot: int) -> list[tuple[int, int]]:
        """Take back what the slot has not begun."""
        process = self._processes.get(slot)
        if process is None:
            return []
        running = process.running()
        if running is None:
            return []  # between chunks: what is queued is about to begin
        serial, position, _ = running
        process.gauge.revoke(serial, position + 1, self._last_serial)
        after = process.running()  # it may have begun the next one while the revocation was written
        if after is not None:
            serial, position, _ = after
        return process.given.take_back(serial, position)

    def kill(self, slot: int, error: TaskError) -> None:
        """Kill the slot's worker and all its children; a WorkerLost with this error follows."""
        process = self._processes.get(slot)
        if process is not None:
            process.killed = error
            process.kill()

    def discard(self, slot: int) -> None:
        """End the slot's worker, which runs nothing, without an event."""
        process = self._processes.get(slot)
        if process is not None:
            self._discard(process)

    def refuse(self, slot: int, serial: int, position: int) -> None:
        """Tell a task that waits that no worker can be lent for what it waits for."""
        process = self._processes.get(slot)
        if process is not None:
            process.gauge.refuse(serial, position)

    def missing(self) -> str:
        """Nothing: it starts its workers itself."""
        return ""

    def watch(self, fd: int) -> None:
        """End a wait also when ``fd`` is readable."""
        self._poll.register(fd, select.POLLIN)

    def close(self) -> None:
        """Kill every worker."""
        for process in list(self._processes.values()):
            self._discard(process)

    # Processes

    def _start(self, slot: int, function: FunctionRef) -> Process:
        process = Process.start(slot, function, self._threads_each)
        self._count.add(metrics.WORKERS_STARTED, kind="native")
        self._processes[slot] = process
        for fd in process.descriptors:
            self._by_fd[fd] = process
            self._poll.register(fd, select.POLLIN)
        return process

    def _discard(self, process: Process) -> None:
        """Kill a process and forget it, without an event."""
        process.reap()
        for fd in process.descriptors:
            if self._by_fd.pop(fd, None) is not None:
                self._poll.unregister(fd)
        process.close()
        if self._processes.get(process.slot) is process:
            del self._processes[process.slot]

    def _on_ready(self, process: Process, fd: int, flags: int) -> None:
        if self._processes.get(process.slot) is not process:
            return  # ended while this poll's earlier events were handled
        if fd == process.pidfd:
            self._on_exit(process)
            return
        if flags & select.POLLOUT:
            process.write()
            self._watch_writing(process)
        if flags & ~select.POLLOUT and not self._read(process):
            if process.pidfd < 0:
                self._on_exit(process)
            else:
                self._poll.unregister(fd)  # closed, but its exit comes by the pidfd
                self._by_fd.pop(fd)

    def _read(self, process: Process, *, to_the_end: bool = False) -> bool:
        """Take in what has arrived; False at the end of the stream."""
        heard, is_open = process.read(to_the_end=to_the_end)
        self._events += heard
        return is_open

    def _watch_writing(self, process: Process) -> None:
        fd = process.connection.fileno()
        if fd in self._by_fd:
            self._poll.modify(fd, select.POLLIN | (select.POLLOUT if process.has_unsent else 0))

    def _on_exit(self, process: Process) -> None:
        process.kill()  # its children must not go on writing
        self._read(process, to_the_end=True)  # what it had sent before it ended
        returncode = process.reap()
        running = process.running()
        stdout, stderr = captured_output.take(process.stdout), captured_output.take(process.stderr)
        self._discard(process)
        if process.violation:
            self._count.add(metrics.WORKER_VIOLATIONS, what=process.violation)
        if process.stale and not process.violation and process.chunks:
            self._replace_stale(process)
        elif process.chunks:
            self._events.append(_how_lost(process, process.chunks[0], returncode, running, stdout, stderr))
        elif process.killed is not None:
            self._events.append(WorkerLost(process.slot, None, process.killed))

    def _replace_stale(self, process: Process) -> None:
        for chunk in process.chunks:
            self.run(process.slot, chunk)
        if (after := self._processes.get(process.slot)) is not None:
            after.replaces_stale = True

    def _check_times(self) -> None:
        now = time.monotonic()
        if now < self._capture_check_at:
            return
        self._capture_check_at = now + CAPTURE_CHECK_SECONDS
        for process in self._processes.values():
            captured_output.bound(process.stdout)
            captured_output.bound(process.stderr)
            if process.is_late:
                self.kill(process.slot, TOO_SLOW)
            process.check_silence()


def _refused(slot: int, chunk: Chunk, error: CorruptPayload) -> Iterator[Refused]:
    """Tasks whose events could not be read for their worker."""
    payload = encode_error(TaskError("CorruptPayload", str(error)))
    for index, attempt in zip(chunk.indexes, chunk.attempts, strict=True):
        yield Refused(slot, chunk.serial, Outcome(index, True, attempt, time.time(), 0.0, payload, "", ""))


def _missing_place(function: FunctionRef) -> str:
    """What is gone of where a session is to run, if so: that is no other session's trouble."""
    where = python_of(function)
    if not function.launcher and not os.path.isdir(where.cwd):
        return f"the folder that it was submitted from, {where.cwd}, is gone"
    return "" if os.path.exists(where.python) else f"the Python that it was submitted with, {where.python}, is gone"


def _how_lost(
    process: Process,
    first: Chunk,
    returncode: int,
    running: tuple[int, int, float] | None,
    stdout: str,
    stderr: str,
) -> WorkerEvent:
    """What the end of a worker that held chunks means.

    Args:
        first: the chunk that it was at.
        running: the task that it ran, as ``Gauge.running`` says.
    """
    slot, killed = process.slot, process.killed
    if process.load_error is not None and not process.violation:
        return LoadFailed(slot, first.serial, process.load_error)
    if process.loading_since is not None and running is None and killed in (None, TOO_SLOW):
        how = killed.message if killed else how_it_ended(returncode)
        if process.hello or (first.function.launcher and returncode != BAD_MACHINE):
            why = f": {stderr.strip()}" if returncode == BAD_PACKAGE else ""
            message = f"the worker {how} while it loaded {first.function.spec.function.name}{why}"
            return LoadFailed(slot, first.serial, TaskError("InitError", message, stderr))
        text = f"a worker {how} before it was ready: {stderr.strip() or '(it printed nothing)'}"
        return StartFailed(slot, first.serial, text)
    error = killed or crash_of(returncode, first.function, process.peak_mb, stderr)
    at = None if running is None else running[:2]
    seconds = 0.0 if running is None else time.monotonic() - running[2]
    return WorkerLost(slot, at, error, seconds, stdout, stderr)
