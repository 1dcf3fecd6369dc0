"""``python -m htcgrid_core.testing.simulator --seeds 10000``: many seeds by hand, with progress."""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import sys
import traceback

from rich.progress import track

from htcgrid_core.testing.simulator.scenario import simulate


def attempt(seed: int) -> str:
    """The failure of a seed, or nothing."""
    try:
        simulate(seed)
    except Exception:  # noqa: BLE001 - any failure of a seed is the finding
        return f"seed {seed}\n{traceback.format_exc()}"
    return ""


def main() -> int:
    """Run seeds in all cores; exit 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--first", type=int, default=0)
    arguments = parser.parse_args()
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    # What agents would log of all those faults is in no one's interest; a failing seed comes with its history.
    with multiprocessing.Pool(initializer=logging.disable) as pool:
        results = track(pool.imap_unordered(attempt, seeds, chunksize=4), "simulating", total=len(seeds))
        failures = [failure for failure in results if failure]
    for failure in failures[:5]:
        print(failure, file=sys.stderr)
    print(f"{len(seeds) - len(failures)} of {len(seeds)} seeds passed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
