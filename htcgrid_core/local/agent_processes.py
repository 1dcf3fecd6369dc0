"""The embedded grid's agents as background processes: started on demand, found by their locks, gone when idle."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from htcgrid_core.agent import interpreter
from htcgrid_core.agent.cores import available_cores
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.local.agent_locks import is_held
from htcgrid_core.local.directory import Directory

START_TRIES = 4  # of an agent that is killed each time
START_PAUSE_SECONDS = 0.5
EXIT_SECONDS = 5.0


@dataclass(frozen=True)
class Fleet:
    """The agents that an embedded grid should have.

    Attributes:
        agents: how many processes.
        slots: tasks that each runs at once.
        idle_seconds: after which they leave.
    """

    agents: int = 1
    slots: int = 0
    idle_seconds: float = limits.AGENT_IDLE_SECONDS

    @property
    def slots_each(self) -> int:
        """``slots``, or a slot for each of an agent's cores."""
        return self.slots or self.cores_each

    @property
    def cores_each(self) -> int:
        """Each agent's share of the cores that this process may use."""
        return max(1, available_cores() // self.agents)


def running_agents(directory: Directory) -> list[int]:
    """Process ids of the agents that run now.

    Raises:
        GridUnavailable: the directory cannot be read.
    """
    found = []
    try:
        for path in sorted(directory.agents.glob("*.lock")):
            if is_held(directory, int(path.stem)):
                with contextlib.suppress(ValueError):  # just started, has not written its pid
                    found.append(int(path.read_text()))
    except OSError as error:
        raise GridUnavailable(f"the grid's agents cannot be looked for: {error}") from error
    return found


def ensure_agents(directory: Directory, fleet: Fleet, are_wanted: Callable[[], bool] = lambda: True) -> None:
    """Start the agents that do not run yet; they outlive this process.

    Args:
        are_wanted: asked before any is started.

    Raises:
        GridUnavailable: an agent could not be started, or was killed each time.
    """
    missing = [number for number in range(fleet.agents) if not is_held(directory, number)]
    if missing and are_wanted():
        for number in missing:
            _start_in_the_end(directory, number, fleet)


def _start_in_the_end(directory: Directory, number: int, fleet: Fleet) -> None:
    """Start an agent, once more if it is killed, as the kernel does when memory is short."""
    for tries_left in reversed(range(START_TRIES)):
        try:
            _start(directory, number, fleet)
            return
        except _KilledWhileItStarted as error:
            if not tries_left:
                raise GridUnavailable(str(error)) from None
            time.sleep(START_PAUSE_SECONDS)


class _KilledWhileItStarted(Exception):  # no error yet: the next may come to life
    """An agent, by somebody else."""


def _start(directory: Directory, number: int, fleet: Fleet) -> None:
    log = directory.agents / f"{number}.log"
    command = [
        *interpreter.command("htcgrid_core.local.serve"), str(directory.root), str(number),
        str(fleet.slots_each), str(fleet.cores_each), str(fleet.idle_seconds),
    ]  # fmt: skip
    ready_read, ready_write = os.pipe()
    try:
        with open(log, "ab") as output:
            process = subprocess.Popen(
                [*command, str(ready_write)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=directory.root,
                start_new_session=True,
                pass_fds=(ready_write,),
            )
        os.close(ready_write)
        ready_write = -1
        # The pipe ends when the agent closes it, ready or refused, and when it dies.
        os.set_blocking(ready_read, False)
        deadline = time.monotonic() + limits.AGENT_START_SECONDS
        while True:
            try:
                answer = os.read(ready_read, 1)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    answer = None
                    break
                time.sleep(0.002)
        if answer != b"+":
            raise _not_started(process, log, hung_up=answer is not None)
        process.returncode = 0  # not ours to wait for: it outlives us, and must not warn at our end
    except OSError as error:
        raise GridUnavailable(f"the grid's agent could not be started: {error}") from error
    finally:
        os.close(ready_read)
        if ready_write >= 0:
            os.close(ready_write)


def _not_started(process: subprocess.Popen[bytes], log: Path, *, hung_up: bool) -> Exception:
    """Why there is no agent.

    Args:
        hung_up: it has ended, or is about to.
    """
    if hung_up:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(EXIT_SECONDS)  # its pipe ends a moment before it does
    code = process.poll()
    text = f"the grid's agent did not start (exit code {code}); its log {log} ends with: {_tail(log)}"
    if code is not None and code <= 0:  # 0 is told to a process that ignores SIGCHLD: no agent ends so
        return _KilledWhileItStarted(text)
    return GridUnavailable(text)


def _tail(log: Path) -> str:
    try:
        return log.read_text(errors="replace")[-800:].strip()
    except OSError:
        return "(nothing)"


def stop_agents(directory: Directory, timeout_seconds: float = limits.DRAIN_GRACE_SECONDS + 5) -> list[int]:
    """Ask every agent to drain; return the process ids of those that did not end in time."""
    pids = running_agents(directory)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout_seconds
    while (left := [pid for pid in pids if pid in running_agents(directory)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left
