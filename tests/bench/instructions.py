"""``python -m tests.bench.instructions --before TREE``: instructions that a native worker takes for a deployed task.

They are counted by valgrind, here and in another checkout: unlike time, they are the same on a machine that others use.
What a start takes cancels out of two counts. What the agent does for a task is not in it.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.launch import REPOSITORY

CHILD = Path(__file__).with_name("instructions_child.py")
COUNT = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")


def counted(tree: Path, tasks: int) -> int:
    """Instructions of a worker that runs so many tasks."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*COUNT, f"--log-file={folder}/%p", sys.executable, str(CHILD), str(tasks)],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tree), "PYTHONHASHSEED": "0"},
            cwd=tree,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        pid = done.stdout.split()[-1]
        total = re.search(r"I\s+refs:\s+([\d,]+)", Path(folder, pid).read_text())
    assert total is not None, "valgrind tells it at the end"
    return int(total[1].replace(",", ""))


def a_task(tree: Path, few: int, many: int) -> float:
    """Instructions a task."""
    counted(tree, few)  # whatever is compiled is, then
    return (counted(tree, many) - counted(tree, few)) / (many - few)


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.instructions", description=__doc__)
    parser.add_argument("--before", type=Path, required=True, metavar="TREE", help="the checkout to compare with")
    parser.add_argument("--few", type=int, default=1_000, help="tasks of the first count")
    parser.add_argument("--many", type=int, default=5_000, help="tasks of the second")
    options = parser.parse_args()
    before, here = (a_task(tree, options.few, options.many) for tree in (options.before.absolute(), REPOSITORY))
    print(f"{before:,.0f} instructions a task before, {here:,.0f} here: {100 * (here / before - 1):+.1f}%")


if __name__ == "__main__":
    main()
