"""What a million tasks cost: every call counted at the wire, units by our calculator, dollars by the table of prices.

Client and agent are real and share one process, so that one meter sees the calls of both: submit, claims, commits,
heartbeats, messages, polls, and reading all results. Workers are processes of their own, as always.
"""

from __future__ import annotations

import random
import string
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import boto3
from rich.table import Table

from htcgrid_core import Grid
from htcgrid_core.agent.loop.agent import Agent
from htcgrid_core.agent.loop.calls import ThreadedCalls
from htcgrid_core.agent.settings import AgentIdentity
from htcgrid_core.agent.workers.by_runtime import Workers
from htcgrid_core.cloud.address import parse_aws
from htcgrid_core.cloud.deployment import CloudGrid
from htcgrid_core.domain.prices import PRICES
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.ports.doorbell import WORK
from tests.aws.bench.rows import Row, shown
from tests.aws.emulators import Account
from tests.aws.meter import Meter

SLOTS = 8
BUNDLES = {1: 75, 8: 40, 32: 36, 128: 36}  # more than 32: such sessions are written in several steps
PAYLOADS_KB = (0.1, 1.0, 10.0, 100.0)
# Payload (KB), bundle size, bundles.
CASES = [
    *((payload_kb, size, bundles) for payload_kb in PAYLOADS_KB for size, bundles in BUNDLES.items()),
    *((1.0, 1, bundles) for bundles in (15, 1000)),
    (1.0, 256, 40),
]
QUICK_CASES = [(1.0, 1, 15), (1.0, 256, 4)]
BUNDLE_KB = 1000.0  # a bundle holds no more, however large it is meant to be
HANDLER = "tests.bench.handlers.echo"

# The original's, as its own code has them: docs/aws.md
ORIGINAL = {"calls": 11.1, "write units": 13.0, "dollars a million": 21.2}


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one session, a task; ``payload_kb`` goes in and comes out."""

    bundle_size: int
    payload_kb: float
    tasks: int
    calls: float
    write_units: float
    read_units: float
    dollars_a_million: float


@contextmanager
def metered(account: Account, url: str, folder: Path) -> Iterator[tuple[Grid, Meter]]:
    """A grid whose only agent is a thread of this process, and the meter of both."""
    session: boto3.Session = account.session()
    address = parse_aws(url)
    deployment = CloudGrid(address, session)
    meter = Meter(account, deployment.cloud.parameter.table)
    meter.watch(session)  # clients are made when they are first used
    served = CloudGrid(address, session).cloud
    bell = served.doorbell.listen(WORK)
    agent = Agent(
        served.plane,
        Workers(SLOTS, bell, folder / "packages"),
        AgentIdentity("metered"),
        replace(served.times.settings(), look_seconds=float("inf")),  # as agents of their own processes
        calls=ThreadedCalls(lambda: served.doorbell.ring(WORK)),
    )
    thread = threading.Thread(target=agent.run, name="agent")
    thread.start()
    try:
        with Grid(InProcessGateway(deployment)) as grid:
            yield grid, meter
    finally:
        agent.drain()
        served.doorbell.ring(WORK)
        thread.join()
        served.close()


def events_of(tasks: int, payload_kb: float) -> list[str]:
    """JSON texts of so many bytes, as badly compressible as base64 is."""
    rng = random.Random(tasks)
    size = int(payload_kb * 1000)
    text = "".join(rng.choices(string.ascii_letters + string.digits + "+/", k=2 * size + tasks))
    return [text[at : at + size - 2] for at in range(tasks)] if size > 10_000 else _fresh(rng, tasks, size)


def _fresh(rng: random.Random, tasks: int, size: int) -> list[str]:
    return ["".join(rng.choices(string.ascii_letters + string.digits + "+/", k=size - 2)) for _ in range(tasks)]


def measure(grid: Grid, meter: Meter, bundle_size: int, payload_kb: float, bundles: int) -> Cost:
    """One session, from submit to the last result."""
    size = max(1, min(bundle_size, int(BUNDLE_KB / payload_kb)))
    tasks = size * bundles
    events = events_of(tasks, payload_kb)
    meter.reset()
    session = grid.submit(HANDLER, events, bundle_size=bundle_size)
    session.wait()
    found = sum(1 for result, event in zip(session.results(), events, strict=True) if result == event)
    if found != tasks:
        raise RuntimeError(f"{tasks - found} of {tasks} results are wrong")
    calls, writes, reads, dollars = meter.calls.total(), meter.write_units, meter.read_units, meter.dollars
    return Cost(bundle_size, payload_kb, tasks, calls / tasks, writes / tasks, reads / tasks, dollars / tasks * 1e6)


def costs(account: Account, url: str, folder: Path, cases: Sequence[tuple[float, int, int]]) -> Iterator[Cost]:
    """Of each case."""
    with metered(account, url, folder) as (grid, meter):
        grid.submit(HANDLER, [0] * SLOTS, bundle_size=1).wait()  # workers are there, clients are made
        for payload_kb, size, bundles in cases:
            yield measure(grid, meter, size, payload_kb, bundles)


def table_of(found: Sequence[Cost]) -> Table:
    """For people, beside the original."""
    sources = " ".join(PRICES.sources[service] for service in ("DynamoDB", "S3", "SQS"))
    title = f"per task, and dollars per million tasks ({PRICES.region}, {PRICES.dated}: {sources})"
    table = Table(title=title, title_justify="left")
    for heading in ("payload in and out, KB", "bundle size", "tasks", "calls", "write units", "read units", "dollars"):
        table.add_column(heading, justify="right")
    calls, writes, dollars = map(shown, ORIGINAL.values())
    table.add_row("1", "the original", "", calls, writes, "", dollars, end_section=True)
    for cost in found:
        numbers = (cost.calls, cost.write_units, cost.read_units, cost.dollars_a_million)
        table.add_row(f"{cost.payload_kb:g}", str(cost.bundle_size), f"{cost.tasks:,}", *map(shown, numbers))
    return table


def rows_of(found: Sequence[Cost]) -> list[Row]:
    """The budgets, at a kilobyte."""
    rows = []
    for cost in found:
        if cost.payload_kb == 1.0 and cost.bundle_size == 256:
            rows.append(Row("calls a task, bundles of 256", cost.calls, "the original: 11.1", "at most", 0.15))
            dollars = cost.dollars_a_million
            rows.append(Row("dollars a million tasks, bundles of 256", dollars, "the original: 21.2", "at most", 0.25))
        if cost.payload_kb == 1.0 and cost.bundle_size == 1:
            what = f"a task, bundles of 1, {cost.tasks:,} tasks"
            rows.append(Row(f"calls {what}", cost.calls, "the original: 11.1", "at most", 8.0))
            rows.append(Row(f"write units {what}", cost.write_units, "the original: 13", "at most", 7.0))
    return rows
