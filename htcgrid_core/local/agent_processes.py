"""The embedded grid's agents as background processes: started on demand, found by their locks, gone when idle."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from htcgrid_core.agent import interpreter
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.domain.pool import DEFAULT_POOL, PoolSize
from htcgrid_core.local import agent_locks, agent_terms
from htcgrid_core.local.agent_terms import RunningAgent
from htcgrid_core.local.directory import Directory
from htcgrid_core.local.fleet import Fleet, size_text

START_ROUNDS = 2  # another client's agent may have come first, and have fewer slots
START_TRIES = 4  # of an agent that is killed each time
START_PAUSE_SECONDS = 0.5
EXIT_SECONDS = 5.0


def running_agents(directory: Directory) -> list[int]:
    """Process ids of the agents that run now.

    Raises:
        GridUnavailable: the directory cannot be read.
    """
    return [agent.pid for agent in agents_of(directory)]


def agents_of(directory: Directory) -> list[RunningAgent]:
    """The agents that run now, and what each runs with.

    Raises:
        GridUnavailable: the directory cannot be read.
    """
    try:
        return agent_locks.running(directory)
    except OSError as error:
        raise GridUnavailable(f"the grid's agents cannot be looked for: {error}") from error


@dataclass(frozen=True, slots=True)
class Enough:
    """Agents that were all that was asked for, and are until one of them ends, or another begins.

    Attributes:
        folder_changed_at: when the folder of their locks was last changed (ns), as by each agent that begins.
        locks: the files of their locks.
    """

    folder_changed_at: int
    locks: tuple[str, ...]

    def are_there(self, directory: Directory) -> bool:
        """Look at their locks alone."""
        try:
            changed_at = os.stat(directory.agents).st_mtime_ns
            return changed_at == self.folder_changed_at and all(map(agent_locks.is_held, self.locks))
        except OSError:
            return False  # whoever looks closely says what is wrong


def enough_agents(directory: Directory, fleet: Fleet) -> Enough | None:
    """Those of the default pool that run, if no more are to be started."""
    try:
        changed_at = os.stat(directory.agents).st_mtime_ns  # before they are looked for
        running = of_pool(agent_locks.running(directory), DEFAULT_POOL)
    except OSError:
        return None
    if not running or fleet.missing(running):
        return None
    return Enough(changed_at, tuple(agent_locks.path_of(directory, agent.number) for agent in running))


def ensure_agents(
    directory: Directory,
    fleet: Fleet,
    are_wanted: Callable[[], bool] = lambda: True,
    others: Callable[[], Sequence[PoolSize]] = tuple,
) -> list[RunningAgent]:
    """Start the agents that do not run yet, and have those that do stay as long as is asked; they outlive this process.

    Args:
        are_wanted: asked before any is started.
        others: pools beside the default one whose agents are wanted, too; asked if the fleet's agents are.

    Returns:
        Those of the default pool that ran before.

    Raises:
        GridUnavailable: an agent could not be started, or was killed each time.
    """
    running = agents_of(directory)
    own = next(size for size in fleet.sizes if size.pool == DEFAULT_POOL.pool)
    before = of_pool(running, own)
    for size in (own, *others()):
        for _ in range(START_ROUNDS):
            missing = fleet.missing(of_pool(running, size))
            if not missing or not are_wanted():
                break
            taken = {agent.number for agent in running}
            free = (number for number in itertools.count() if number not in taken)
            with contextlib.ExitStack() as begun:  # all at once: each takes most of a second
                ready = [
                    begun.enter_context(_starting(directory, number, slots, fleet, size))
                    for number, slots in zip(free, missing, strict=False)
                ]
                for wait in ready:
                    wait()
            running = agents_of(directory)
    if fleet.idle is not None:
        for agent in running:
            agent_terms.lengthen(directory.agents, agent, fleet.idle)
    return before


def of_pool(running: Sequence[RunningAgent], size: PoolSize) -> list[RunningAgent]:
    """Those that serve a pool."""
    return [agent for agent in running if agent.size.pool == size.pool]


@contextlib.contextmanager
def _starting(
    directory: Directory, number: int, slots: int, fleet: Fleet, size: PoolSize
) -> Iterator[Callable[[], None]]:
    """An agent that is being started, and what waits until it is there; once more if it is killed meanwhile.

    As the kernel does when memory is short.
    """
    started = _Started.begin(directory, number, slots, fleet, size)

    def wait() -> None:
        nonlocal started
        for tries_left in reversed(range(START_TRIES)):
            try:
                started.wait()
                return
            except _KilledWhileItStarted as error:
                if not tries_left:
                    raise GridUnavailable(str(error)) from None
                started.close()
                time.sleep(START_PAUSE_SECONDS)
                started = _Started.begin(directory, number, slots, fleet, size)

    try:
        yield wait
    finally:
        started.close()


class _KilledWhileItStarted(Exception):  # no error yet: the next may come to life
    """An agent, by somebody else."""


@dataclass(slots=True)
class _Started:
    """An agent's process, of which it is not known yet whether it works.

    Attributes:
        log: what it prints.
        ready: a pipe's end, by which it says that it does; negative once it is closed.
        until: monotonic time at which that is too late.
    """

    process: subprocess.Popen[bytes]
    log: Path
    ready: int
    until: float

    @classmethod
    def begin(cls, directory: Directory, number: int, slots: int, fleet: Fleet, size: PoolSize) -> Self:
        """Start it.

        Raises:
            GridUnavailable: there can be no such process.
        """
        log = directory.agents / f"{number}.log"
        command = [
            *interpreter.command("htcgrid_core.local.serve"), str(directory.root), str(number),
            str(slots), str(fleet.cores_each), str(fleet.idle_seconds), size_text(size),
        ]  # fmt: skip
        with contextlib.ExitStack() as undo:
            try:
                ready, told = os.pipe()
                undo.callback(os.close, ready)
                with os.fdopen(told, "wb"), open(log, "ab") as output:
                    process = subprocess.Popen(
                        [*command, str(told)],
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=output,
                        cwd=directory.root,
                        start_new_session=True,
                        pass_fds=(told,),
                    )
            except OSError as error:
                raise GridUnavailable(f"the grid's agent could not be started: {error}") from error
            undo.pop_all()
        os.set_blocking(ready, False)
        return cls(process, log, ready, time.monotonic() + limits.AGENT_START_SECONDS)

    def wait(self) -> None:
        """Wait until it is ready.

        Raises:
            GridUnavailable: it is not.
        """
        answer = None
        while answer is None:
            try:
                answer = os.read(self.ready, 1)  # the pipe ends when it closes it, ready or refused, and when it dies
            except BlockingIOError:
                if time.monotonic() > self.until:
                    break
                time.sleep(0.002)
        if answer != b"+":
            raise _not_started(self.process, self.log, hung_up=answer is not None)

    def close(self) -> None:
        """Let go of it: it outlives this process, and must not warn at its end."""
        self.process.returncode = self.process.returncode or 0
        if self.ready >= 0:
            os.close(self.ready)
            self.ready = -1


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
