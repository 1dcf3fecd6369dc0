"""Agents and workers: who runs, what they complain of, and one task through all of it."""

from __future__ import annotations

import os
import secrets
import sys
import time
from pathlib import Path

from htcgrid_core.codecs.events import encoded
from htcgrid_core.codecs.tasks import decoded
from htcgrid_core.domain.errors import GridError
from htcgrid_core.domain.function import Environment, FunctionSpec
from htcgrid_core.domain.lifecycle import SessionState, TaskState
from htcgrid_core.domain.retry import RetryPolicy
from htcgrid_core.domain.session import SessionRecord, SessionSpec
from htcgrid_core.local.agent_processes import agents_of, ensure_agents, running_agents
from htcgrid_core.local.directory import Directory, open_plane
from htcgrid_core.local.doctor import noop
from htcgrid_core.local.doctor.finding import Finding, Findings, ok, problem, warning
from htcgrid_core.local.fleet import MEND, Fleet, in_words, set_otherwise
from htcgrid_core.ports.doorbell import COMMITS
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.cancel import cancel
from htcgrid_core.services.submit import submit
from htcgrid_core.services.tasks import tasks

BEAT_SECONDS = 3.0  # an agent that started just now is heard of by then
ROUND_TRIP_SECONDS = 30.0
SLOW_SECONDS = 5.0
RETENTION_SECONDS = 60.0
TAIL_CHARACTERS = 800
RECENT_LOG_SECONDS = 24 * 3600.0


def agents(grid: Directory) -> Findings:
    """Processes that hold an agent's lock, what they last said, and what their logs end with."""
    plane = open_plane(grid)
    pids = running_agents(grid)
    deadline = time.monotonic() + BEAT_SECONDS
    while True:
        heard = {agent.pid: agent for agent in plane.store.agents(plane.clock.now())}
        silent = [pid for pid in pids if pid not in heard]
        if not silent or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    for pid in silent:
        text = f"the agent with process id {pid} runs but has not been heard of for 30 s"
        yield problem("agents", text, f"continue it if it is stopped (kill -CONT {pid}), or end it: kill -9 {pid}")
    for pid in pids:
        agent = heard.get(pid)
        if agent is not None and agent.problem:
            text = f"agent {agent.agent_id} cannot work: {agent.problem}"
            yield problem("agents", text, "mend what it says, then `htcgrid down`; the next submit starts new agents")
        elif agent is not None:
            yield ok("agents", f"{agent.agent_id} (process {pid}): {agent.busy} of {agent.slots} slots busy")
    if not pids:
        yield ok("agents", "none runs; they come with work and leave when idle")
    yield from _logs(grid)


def _logs(grid: Directory) -> Findings:
    for log in sorted(grid.agents.glob("*.log")):
        tail = _tail(log)
        age = time.time() - log.stat().st_mtime
        if tail and age < RECENT_LOG_SECONDS:
            text = f"{log}, last written to {age / 60:,.0f} minutes ago, ends with:\n{tail}"
            yield warning("agents", text, f"remove {log} if that is settled")


def _tail(log: Path) -> str:
    with open(log, "rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_CHARACTERS))
        return file.read().decode("utf-8", "replace").strip()


def round_trip(grid: Directory, fleet: Fleet) -> Findings:
    """Submit one task that does nothing, and wait for its result."""
    plane = open_plane(grid)
    where = Environment(python=sys.executable, path=(), cwd="/")
    spec = SessionSpec(
        function=FunctionSpec(name=f"{noop.__name__}.{noop.noop.__name__}", environment=where),
        name="htcgrid doctor",
        priority="high",
        retry=RetryPolicy(max_attempts=1),
        retention_seconds=RETENTION_SECONDS,
    )
    started = time.monotonic()
    try:
        session_id = f"doctor-{secrets.token_hex(8)}"
        record = submit(plane, session_id, spec, encoded(spec.codec, [1]), total=1, idempotent=False)
        ensure_agents(grid, fleet)
        record = _ended(plane, record, started + ROUND_TRIP_SECONDS)
        seconds = time.monotonic() - started
        if record.state is SessionState.COMPLETED:
            yield _good(seconds)
        elif record.ended:
            yield from _failed(plane, record, spec)
        else:
            cancel(plane, record.session_id, actor="doctor", reason="the doctor waits no longer")
            yield from _unanswered(plane)
    except GridError as error:
        yield problem("round trip", str(error), "mend what it says")


def fleet_of(grid: Directory, fleet: Fleet) -> Findings:
    """What runs now that a task has been run, and whether that is what was asked for."""
    agents = agents_of(grid)
    stays = {"for ever" if one.idle_seconds is None else f"{one.idle_seconds:g} s" for one in agents if one.slots}
    text = f"{in_words(agents)}; without work they stay {' or '.join(sorted(stays))}"
    otherwise = [found for found in (fleet.excess(agents), set_otherwise(agents, os.environ)) if found]
    if not agents:
        yield ok("fleet", "no agent runs any more: they leave as soon as they are idle")
    elif otherwise:
        yield warning("fleet", ", and ".join(otherwise), MEND)
    else:
        yield ok("fleet", text)


def _ended(plane: Plane, record: SessionRecord, deadline: float) -> SessionRecord:
    bell = plane.doorbell.listen(COMMITS)
    try:
        while not record.ended and time.monotonic() < deadline:
            bell.wait(0.1)
            record = plane.store.session(record.session_id, plane.clock.now())
    finally:
        bell.close()
    return record


def _good(seconds: float) -> Finding:
    text = f"a task's result came back after {seconds:.2f} s"
    if seconds < SLOW_SECONDS:
        return ok("round trip", text)
    return warning("round trip", text, "see whether the machine is overloaded, or all slots are busy")


def _failed(plane: Plane, record: SessionRecord, spec: SessionSpec) -> Findings:
    text = f"a task that does nothing ended its session {record.state}: {record.reason}"
    for page in tasks(plane, record, spec, TaskState.FAILED):
        for task in decoded(spec, page):
            if task.error is not None:
                text += f"\n{task.error.text}\n{task.error.traceback}".rstrip()
    yield problem("round trip", text, "see the error; workers run the Python and see the variables named above")


def _unanswered(plane: Plane) -> Findings:
    heard = plane.store.agents(plane.clock.now())
    text = f"a task that does nothing was not done within {ROUND_TRIP_SECONDS:.0f} s"
    complaints = [f"agent {agent.agent_id}: {agent.problem}" for agent in heard if agent.problem]
    if complaints:
        yield problem("round trip", f"{text}: {'; '.join(complaints)}", "mend what the agents say")
    elif heard and all(agent.busy >= agent.slots for agent in heard):
        yield warning("round trip", f"{text}: all slots are busy", "wait for what runs, or add agents or slots")
    else:
        yield problem("round trip", text, "see the agents' logs above")
