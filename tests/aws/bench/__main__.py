"""``python -m tests.aws.bench``: cost, speed and scale of sessions on AWS, on an emulator and in virtual time."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from tests.aws import emulators
from tests.aws.bench import cost, lambdas, latency, outage, rows, scale, speed, telling
from tests.aws.bench.progress import Progress
from tests.aws.emulators import Account
from tests.aws.grids import CloudUnderTest, cloud
from tests.aws.latency_proxy import Away, away

WIDTH = 150
SECTIONS = ("cost", "speed", "latency", "scale", "telling", "lambdas", "regions")
FLEETS = (scale.Fleet(3125, 10.0, 1, 30.0), scale.Fleet(407, 1.0, 10, 10.0))
SMALL_FLEETS = (scale.Fleet(60, 10.0, 1, 30.0), scale.Fleet(20, 1.0, 3, 10.0))
OUTAGE = outage.Outage(3126, 10.0, 5000, 4, begins=10.0, ends=40.0, seconds=60.0)
QUICK_SHARE = 0.1
Found = tuple[list[Table], list[rows.Row]]  # what is only told, and what is judged


@contextmanager
def fresh_cloud() -> Iterator[tuple[Account, CloudUnderTest, Path]]:
    """A grid on an emulator of its own."""
    with (
        emulators.ministack() as url,
        tempfile.TemporaryDirectory(prefix="bench-aws-") as name,
        pytest.MonkeyPatch.context() as patch,
    ):
        account, folder = Account(url), Path(name)
        with cloud(account, folder, patch, "default") as grid:
            yield account, grid, folder


@contextmanager
def distant_cloud() -> Iterator[tuple[Account, CloudUnderTest, Away]]:
    """A grid that is as far away as AWS is, and the account on the queues' emulator itself.

    A queue of moto's wakes who waits for it at once, as SQS does; one of ministack's looks every 0.1 s.
    """
    with (
        emulators.ministack() as url,
        emulators.moto() as sqs_url,
        away(url, sqs_url) as proxy,
        tempfile.TemporaryDirectory(prefix="bench-aws-") as name,
        pytest.MonkeyPatch.context() as patch,
    ):
        queues = Account(sqs_url)
        with cloud(Account(proxy.url, queues.id), Path(name), patch, "default") as grid:
            yield queues, grid, proxy


def run_cost(console: Console, quick: bool) -> Found:
    """Print the table of costs; its budgets."""
    cases, found = cost.QUICK_CASES if quick else cost.CASES, []
    with fresh_cloud() as (account, grid, folder), Progress(console, "cost") as progress:
        for one in cost.costs(account, grid.url, folder, cases):
            progress.say(f"{one.tasks:,} tasks of {one.payload_kb:g} KB in bundles of {one.bundle_size}")
            found.append(one)
    return [cost.table_of(found)], cost.rows_of(found)


def run_speed(console: Console, quick: bool) -> Found:
    """Sessions beside the original's calls."""
    with fresh_cloud() as (account, grid, _), Progress(console, "speed") as progress:
        return [], speed.beside_the_original(account, grid, QUICK_SHARE if quick else 1.0, progress.say)


def run_latency(console: Console, quick: bool) -> Found:
    """How long sessions take from a distance, and what idle agents call."""
    sizes = latency.QUICK if quick else latency.Sizes()
    with distant_cloud() as (queues, grid, proxy), Progress(console, "latency") as progress:
        return [], latency.Bench(queues, grid, proxy, sizes, progress.say).rows()


def run_scale(console: Console, quick: bool, rounds: float = 1.0) -> Found:
    """Fleets in virtual time, with so many times as many tasks."""
    found = []
    with Progress(console, "scale") as progress:
        for fleet in SMALL_FLEETS if quick else FLEETS:
            longer = replace(fleet, seconds=fleet.seconds * rounds)
            found += scale.rows_of(scale.Fleetwide(longer).run(progress.say))
    return [], found


def run_regions(console: Console, quick: bool) -> Found:
    """Two regions in virtual time, one of which fails in the middle."""
    with Progress(console, "regions") as progress:
        return [], outage.rows_of(outage.TwoRegions(outage.SMALL if quick else OUTAGE).run(progress.say))


def run_telling(console: Console, quick: bool) -> Found:
    """Sessions that end at once, and those who are told."""
    sessions = 100 if quick else telling.SESSIONS
    with (
        fresh_cloud() as (account, grid, folder),
        pytest.MonkeyPatch.context() as patch,
        Progress(console, "telling") as progress,
    ):
        progress.say("in virtual time")
        virtual = telling.in_virtual_time(folder, sessions)
        progress.say("on ministack")
        return [], telling.rows_of(virtual, telling.on_an_emulator(account, grid.url, folder, patch, sessions))


def run_lambdas(console: Console, quick: bool) -> Found:
    """What a cold start of each function imports."""
    with tempfile.TemporaryDirectory(prefix="bench-aws-") as name, Progress(console, "lambdas") as progress:
        progress.say("the archive is made")
        return [], lambdas.import_rows(Path(name), 2 if quick else 7)


def main() -> int:
    """Measure, print; 1 if a budget is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.aws.bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--quick", action="store_true", help="small sizes: does it work? not for quoting")
    parser.add_argument("--rounds", type=float, default=1.0, help="scale: so many times as many tasks, and minutes")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables as documents have them")
    options = parser.parse_args()
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    runs: dict[str, tuple[Callable[[Console, bool], Found], str]] = {
        "cost": (run_cost, "cost, on ministack over HTTP"),
        "speed": (run_speed, "speed, on ministack over HTTP"),
        "latency": (run_latency, "latency, behind a proxy that adds what AWS takes"),
        "telling": (run_telling, "sessions that end at once, and those who are told"),
        "lambdas": (run_lambdas, "what a cold start of a Lambda function imports"),
        "regions": (run_regions, "an outage of one of two regions, in virtual time with AWS's latencies and limits"),
        "scale": (partial(run_scale, rounds=options.rounds), "scale, in virtual time with AWS's latencies and limits"),
    }
    found, markdown, started = list[rows.Row](), list[str](), time.monotonic()
    for section in options.only:
        run, title = runs[section]
        tables, new = run(console, options.quick)
        for table in (*tables, rows.table_of(title + (", small sizes" if options.quick else ""), new)):
            console.print(table)
            markdown.append(rows.markdown_of(table))
        found += new
    if options.markdown is not None:
        options.markdown.write_text("\n".join(markdown))
    missed = [row.what for row in found if row.passed is False]
    kept = sum(row.passed is True for row in found)
    console.print(f"{kept} budgets kept, {len(missed)} missed{': ' if missed else ''}{'; '.join(missed)}")
    console.print(f"{time.monotonic() - started:.0f} s, {datetime.now(UTC):%Y-%m-%d}", highlight=False)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
