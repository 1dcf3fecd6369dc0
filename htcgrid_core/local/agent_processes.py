"""The embedded grid's agents as background processes: started on demand, found by their locks, gone when idle."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from htcgrid_core.adapters.local.sqlite.checkpoints import Checkpoints
from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.agent import interpreter
from htcgrid_core.agent.cores import available_cores
from htcgrid_core.agent.loop.agent import Agent
from htcgrid_core.agent.loop.chores import Chore
from htcgrid_core.agent.privacy import hide
from htcgrid_core.agent.settings import AgentIdentity
from htcgrid_core.agent.signals import reset_signals
from htcgrid_core.agent.teller import Teller
from htcgrid_core.agent.workers.by_runtime import Workers
from htcgrid_core.domain import limits
from htcgrid_core.domain.agent_version import is_for_newer_agents
from htcgrid_core.domain.errors import GridUnavailable, InvalidInput
from htcgrid_core.domain.function import SidecarPort
from htcgrid_core.local.directory import Directory, open_plane
from htcgrid_core.local.logs import write_printable_lines
from htcgrid_core.local.settings import AgentTimes
from htcgrid_core.ports.doorbell import WORK
from htcgrid_core.services.reconcile import reconcile
from htcgrid_core.services.sweep import is_time, sweep

PROBE_SECONDS = 0.2  # longer than anyone who only looks holds a lock
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


@contextlib.contextmanager
def _lock(path: str) -> Iterator[bool]:
    """Hold an agent's advisory lock; False if another process does. The kernel frees it when its holder dies."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        taken = _flock(fd, fcntl.LOCK_EX)
        deadline = time.monotonic() + PROBE_SECONDS
        while not taken and time.monotonic() < deadline:
            time.sleep(0.005)  # a client may just be looking whether it is taken
            taken = _flock(fd, fcntl.LOCK_EX)
        if taken:
            os.ftruncate(fd, 0)
            os.write(fd, str(os.getpid()).encode())
        yield taken
    finally:
        os.close(fd)


def _flock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_path(directory: Directory, number: int) -> str:
    return f"{directory.agents}/{number}.lock"


def _is_running(directory: Directory, number: int) -> bool:
    """Look, with a shared lock: those who look never take each other for the agent, nor write its pid."""
    try:
        fd = os.open(_lock_path(directory, number), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _flock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def running_agents(directory: Directory) -> list[int]:
    """Process ids of the agents that run now.

    Raises:
        GridUnavailable: the directory cannot be read.
    """
    found = []
    try:
        for path in sorted(directory.agents.glob("*.lock")):
            if _is_running(directory, int(path.stem)):
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
    missing = [number for number in range(fleet.agents) if not _is_running(directory, number)]
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
        *interpreter.command("htcgrid_core.local.agent_processes"), str(directory.root), str(number),
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


def serve(
    directory: Directory,
    number: int,
    slots: int,
    cores: int,
    idle_seconds: float,
    ready_fd: int,
    *,
    foreground: bool = False,
    sidecars: Sequence[SidecarPort] = (),
) -> bool:
    """Be agent ``number`` until idle or told to stop; False if another process is.

    Args:
        cores: of this machine that are for its slots.
        ready_fd: told when the agent is ready; negative for nobody.
        foreground: whether Ctrl-C and the end of the terminal are for this process too.
        sidecars: ports of the Runtime API for clients that nobody here starts.

    Raises:
        InvalidInput: its environment's settings are no good.
        GridUnavailable: a port of a sidecar cannot be served.
    """
    hide()
    times = AgentTimes.from_environment(os.environ)  # before it says that it is ready
    while True:
        with _lock(_lock_path(directory, number)) as free:
            if ready_fd >= 0:
                os.write(ready_fd, b"+")  # if not free, another client's agent is as good
                os.close(ready_fd)
                ready_fd = -1
            if not free:
                return False
            told = _serve_once(directory, number, slots, cores, idle_seconds, times, foreground, sidecars)
        # Work that came while the lock was still held found it held: look once more now that it is not.
        live = open_plane(directory).store.live_sessions()
        if told or all(is_for_newer_agents(record.spec) for record in live):
            return True


def _serve_once(
    directory: Directory,
    number: int,
    slots: int,
    cores: int,
    idle_seconds: float,
    times: AgentTimes,
    foreground: bool,
    sidecars: Sequence[SidecarPort],
) -> bool:
    """Work until idle (False) or told to stop (True)."""
    plane = open_plane(directory)
    plane = replace(plane, url=f"{plane.url}?slots={slots}&idle={idle_seconds:g}")
    bell = plane.doorbell.listen(WORK)
    users = frozenset({os.geteuid(), 0})  # this machine may have others, and nothing here is theirs
    workers = Workers(slots, bell, directory.packages, times.cache_bytes, sidecars=sidecars, users=users, cores=cores)
    identity = AgentIdentity(
        f"{socket.gethostname()}-{number}-{secrets.token_hex(3)}", host=socket.gethostname(), pid=os.getpid()
    )
    tick = limits.LOCAL_RECONCILE_TICK_SECONDS
    live_at = plane.clock.monotonic()  # when a session was last seen that has not ended
    told = False

    def look_after() -> None:
        nonlocal live_at
        seen, now = reconcile(plane, tick), plane.clock.monotonic()
        for session_id in seen.newer:
            agent.readiness.pass_over(session_id, tick)
        if is_time(plane, tick):
            sweep(plane)
        if teller.look() or seen.live > len(seen.newer):
            live_at = now
        elif seen.newer:
            agent.drain()  # it makes room for an agent of the release that submitted them
        elif now - max(live_at, agent.worked_at) > idle_seconds:
            agent.drain()

    teller = Teller(plane)
    agent = Agent(plane, workers, identity, times.settings(), chores=(Chore(tick, look_after),), on_end=teller.ended)

    def stop(signum: int, frame: object) -> None:
        nonlocal told
        told = True
        agent.drain()
        plane.doorbell.ring(WORK)
        if signum == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # the second Ctrl-C waits for nothing

    signal.signal(signal.SIGTERM, stop)
    # Ctrl-C in the terminal that started a background agent is not for it.
    signal.signal(signal.SIGINT, stop if foreground else signal.SIG_IGN)
    signal.signal(signal.SIGHUP, stop if foreground else signal.SIG_IGN)
    gc.freeze()  # what was imported stays: looking for garbage among it would stop all tasks for 50 ms
    try:
        with Checkpoints(Database(directory.database)):
            agent.run()
    finally:
        teller.close()
        bell.close()
        # A stop that comes after this is for the next agent, which this handler does not know.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return told


def main() -> None:
    """``htcgrid_core.local.agent_processes DIRECTORY NUMBER SLOTS CORES IDLE_SECONDS READY_FD``."""
    root, number, slots, cores, idle_seconds, ready_fd = sys.argv[1:]
    reset_signals()
    write_printable_lines()
    try:
        serve(Directory(Path(root)), int(number), int(slots), int(cores), float(idle_seconds), int(ready_fd))
    except InvalidInput as error:
        sys.exit(str(error))  # for the log, which the client that starts an agent reads


if __name__ == "__main__":
    main()
