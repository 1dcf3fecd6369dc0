"""``python -m tests.bench.cost --before TREE``: what 10,000 no-op tasks cost in CPU time, here and in another checkout.

Both are measured in turn, again and again, by the Python that runs this: a machine that others use does not run at one
speed. It counts CPU time of client, agent and workers, not time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median

from tests.bench.launch import REPOSITORY

CASES = ("submit", "map", "executor")
PARTS = ("client", "agent", "workers")
CHILD = Path(__file__).with_name("cost_child.py")

Used = dict[str, float]  # CPU seconds of each part


def measured(tree: Path, case: str, tasks: int) -> Used:
    """CPU seconds of one case in one tree."""
    paths = os.pathsep.join([str(tree), *filter(None, [os.environ.get("PYTHONPATH")])])
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HTCGRID_")}
    done = subprocess.run(
        [sys.executable, str(CHILD), case, str(tasks)],
        cwd=tree,
        env=inherited | {"PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        check=True,
    )
    found: Used = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure and print medians."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cost", description=__doc__)
    parser.add_argument("--before", type=Path, required=True, metavar="TREE", help="the checkout to compare with")
    parser.add_argument("--rounds", type=int, default=5, help="of both trees")
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--only", nargs="+", default=CASES, choices=CASES)
    options = parser.parse_args()
    trees = {"before": options.before.absolute(), "here": REPOSITORY}
    for case in options.only:
        used = defaultdict[tuple[str, str], list[float]](list)
        for number in range(options.rounds):
            for name in sorted(trees, reverse=number % 2 == 1):
                for part, seconds in measured(trees[name], case, options.tasks).items():
                    used[name, part].append(seconds)
        for part in (*PARTS, "all"):
            before, here = (median(used[name, part]) for name in trees)
            print(f"{case:9} {part:8} {before:7.3f} s before, {here:7.3f} s here: {100 * (here / before - 1):+.1f}%")


if __name__ == "__main__":
    main()
