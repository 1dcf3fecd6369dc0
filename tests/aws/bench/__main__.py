"""``python -m tests.aws.bench``: cost, speed and scale of sessions on AWS, on an emulator and in virtual time."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from tests.aws import emulators
from tests.aws.bench import cost, rows, scale, speed
from tests.aws.emulators import Account
from tests.aws.grids import CloudUnderTest, cloud

WIDTH = 150
SECTIONS = ("cost", "speed", "scale")
FLEETS = (scale.Fleet(3125, 10.0, 1, 30.0), scale.Fleet(407, 1.0, 10, 15.0))
SMALL_FLEETS = (scale.Fleet(60, 10.0, 1, 30.0), scale.Fleet(20, 1.0, 3, 10.0))
QUICK_SHARE = 0.1


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


def run_cost(console: Console, quick: bool) -> list[rows.Row]:
    """Print the table of costs; its budgets."""
    payloads = (1.0,) if quick else cost.PAYLOADS_KB
    sizes = (1, 256) if quick else tuple(cost.BUNDLES)
    found = []
    with fresh_cloud() as (account, grid, folder), console.status("cost") as status:
        for one in cost.costs(account, grid.url, folder, sizes, payloads, QUICK_SHARE if quick else 1.0):
            status.update(f"cost: {one.payload_kb:g} KB, bundles of {one.bundle_size}: {one.calls:.3f} calls a task")
            found.append(one)
    console.print(cost.table_of(found))
    return cost.rows_of(found)


def run_speed(console: Console, quick: bool) -> list[rows.Row]:
    """Sessions beside the original's calls."""
    with fresh_cloud() as (account, grid, _), console.status("speed"):
        return speed.beside_the_original(account, grid, QUICK_SHARE if quick else 1.0)


def run_scale(console: Console, quick: bool) -> list[rows.Row]:
    """Fleets in virtual time."""
    found = []
    for fleet in SMALL_FLEETS if quick else FLEETS:
        with console.status(str(fleet)) as status:
            found += scale.rows_of(scale.Fleetwide(fleet).run(status.update))
    return found


def main() -> int:
    """Measure, print; 1 if a budget is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.aws.bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--quick", action="store_true", help="small sizes: does it work? not for quoting")
    options = parser.parse_args()
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    runs = {
        "cost": (run_cost, "cost, on ministack over HTTP"),
        "speed": (run_speed, "speed, on ministack over HTTP"),
        "scale": (run_scale, "scale, in virtual time with AWS's latencies and limits"),
    }
    found = []
    for section in options.only:
        run, title = runs[section]
        new = run(console, options.quick)
        console.print(rows.table_of(title + (", small sizes" if options.quick else ""), new))
        found += new
    return int(any(row.passed is False for row in found))


if __name__ == "__main__":
    sys.exit(main())
