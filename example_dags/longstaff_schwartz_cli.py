"""The command line of `longstaff_schwartz`, so that the grid can be driven from a shell alone.

Usage::

    python -m longstaff_schwartz_cli events > events.jsonl
    python -m longstaff_schwartz_cli report results.jsonl events.jsonl
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import longstaff_schwartz as model
from longstaff_schwartz_report import conclude

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from longstaff_schwartz import Event, Result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `python -m longstaff_schwartz_cli`; return the exit code."""
    parser = argparse.ArgumentParser(prog="longstaff_schwartz_cli", description="American puts on the grid.")
    commands = parser.add_subparsers(dest="command", required=True)

    write = commands.add_parser("events", help="write one event a line to standard output")
    add_simulation_options(write)

    read = commands.add_parser("report", help="compare results with the paper; exit 1 if they differ")
    read.add_argument("results", type=Path, help="one result a line, in the order of the events")
    read.add_argument("events", type=Path, help="one event a line")
    read.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="where to put the picture")

    options = parser.parse_args(arguments)
    if options.command == "report":
        return conclude(matched(options.results, options.events), options.out)
    for event in model.events(paths=options.paths, batch_paths=options.batch, seed=options.seed):
        print(json.dumps(event))
    return 0


def add_simulation_options(parser: argparse.ArgumentParser) -> None:
    """Add what `events` takes: --paths, --batch and --seed."""
    for flag, default, meaning in (
        ("--paths", model.PATHS, "paths a row"),
        ("--batch", model.BATCH_PATHS, "paths a task"),
        ("--seed", model.SEED, "root of all random numbers"),
    ):
        parser.add_argument(flag, type=int, default=default, help=f"{meaning} (default: %(default)s)")


def matched(results: Path, events: Path) -> Iterator[Result]:
    """Yield the results, one a line, making sure that each answers the event on the same line."""
    with results.open() as answers, events.open() as questions:
        for number, (answer, question) in enumerate(zip(answers, questions, strict=True), start=1):
            result: Result = json.loads(answer)
            event: Event = json.loads(question)
            if (result["row"], result["batch"]) != (event["row"], event["batch"]):
                raise ValueError(f"line {number} of {results} does not answer line {number} of {events}")
            yield result


if __name__ == "__main__":
    sys.exit(main())
