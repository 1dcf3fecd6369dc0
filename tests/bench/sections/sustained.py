"""A load that lasts: thousands of one-second tasks a second, for a minute, on one agent with simulated workers.

Everything but the workers is real and in real time, in three processes: an agent, a client that submits a session
every tenth of a second, and a client that watches them all and reads every result.
"""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from htcgrid_core import connect
from htcgrid_core.local.agent_processes import running_agents
from htcgrid_core.local.directory import Directory
from tests.bench.case import Metrics, Note
from tests.bench.engines.simulated_agent import READY
from tests.bench.events import WrongResultError
from tests.bench.measure.cpu import CpuMeter
from tests.bench.measure.samples import percentile
from tests.bench.sections.sustained_offer import EVERY_S, TASK_S, offer, session_count
from tests.bench.sections.sustained_watch import Watch
from tests.bench.sizes import Sizes

MS_PER_S = 1_000
LATE_S = 60.0  # after the last session's submission, when what has not come is lost
SUBJECTS = ("grid.submit",)


def run(subject: str, sizes: Sizes, note: Note) -> Metrics:
    """Offer the load, watch it, and account for every task."""
    sessions = session_count(sizes)
    with tempfile.TemporaryDirectory(prefix="bench-sustained-", ignore_cleanup_errors=True) as folder:
        directory, url = Directory(Path(folder)), f"local://{folder}"
        with simulated_agent(directory, sizes.sustained_slots) as agent, connect(url) as grid:
            told, tell = multiprocessing.Pipe(duplex=False)
            submitter = multiprocessing.get_context("spawn").Process(target=offer, args=(url, sizes, tell))
            submitter.start()
            tell.close()
            watch = Watch(grid, sessions, sizes.sustained_session_tasks)
            with CpuMeter() as cpu, CpuMeter(agent.pid) as agent_cpu:
                watch.until_all(told, time.monotonic() + sizes.sustained_s + LATE_S, note)
            submitter.join(LATE_S)
            account(watch, [progress.completed for progress in grid.progress([o.session_id for o in watch.offered])])
            if running_agents(directory) != [agent.pid]:
                raise WrongResultError(f"other agents ran: {running_agents(directory)}")
    return metrics(watch, cpu.seconds, agent_cpu.seconds)


def account(watch: Watch, completed: list[int]) -> None:
    """Every task was seen once, and the counters say the same."""
    offered = watch.sessions * watch.session_tasks
    lost = offered - len(watch.overheads_s)
    if lost or sum(completed) != offered:
        raise WrongResultError(f"{lost:,} of {offered:,} tasks lost; the counters say {sum(completed):,}")


def metrics(watch: Watch, cpu_s: float, agent_cpu_s: float) -> Metrics:
    """Rates and times; the submitter's own lateness is shown, since what it adds is in no task's overhead."""
    overheads_ms = [seconds * MS_PER_S for seconds in watch.overheads_s]
    elapsed_s = watch.last_seen_at - watch.offered[0].called_at
    tasks_per_s = len(overheads_ms) / (elapsed_s - TASK_S + EVERY_S)  # the last session has its tenth of a second, too
    return {
        "tasks_lost": 0,
        "tasks_per_s": tasks_per_s,
        "rate_share": tasks_per_s / (watch.session_tasks / EVERY_S),
        "overhead_ms_p50": percentile(overheads_ms, 0.50),
        "overhead_ms_p95": percentile(overheads_ms, 0.95),
        "overhead_ms_p99": percentile(overheads_ms, 0.99),
        "overhead_ms_max": max(overheads_ms),
        "cores": cpu_s / elapsed_s,
        "agent_cores": agent_cpu_s / elapsed_s,
        "submit_ms_p50": percentile([(o.returned_at - o.called_at) * MS_PER_S for o in watch.offered], 0.50),
        "submit_late_ms_max": max((o.called_at - o.due_at) * MS_PER_S for o in watch.offered),
    }


@contextmanager
def simulated_agent(directory: Directory, slots: int) -> Iterator[subprocess.Popen[str]]:
    """An agent with that many pretended workers, ready for work."""
    command = [sys.executable, "-m", "tests.bench.engines.simulated_agent", str(directory.root), str(slots)]
    process = subprocess.Popen([*command, str(TASK_S)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None, "it is a pipe"
    try:
        if process.stdout.readline().strip() != READY:
            raise RuntimeError("the simulated agent did not start")
        yield process
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
