"""``python -m tests.bench``: run the cases one after another and print one table."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tests.bench import machine, table, targets
from tests.bench.case import Case, Outcome
from tests.bench.cases import chosen
from tests.bench.comparison import Judged
from tests.bench.launch import launch

TABLE_WIDTH = 180
STOPPED = 128 + signal.SIGTERM


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="sections or section:subject")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured to this file")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it work? not for quoting")
    parser.add_argument("--list", action="store_true", help="name all cases and stop")
    return parser.parse_args(arguments)


def run_all(cases: Sequence[Case], size: str, console: Console) -> dict[Case, Outcome]:
    """Every case in turn, with a line of progress each."""
    columns = SpinnerColumn(finished_text="•"), TextColumn("{task.description}"), TimeElapsedColumn()
    outcomes = {}
    with Progress(*columns, TextColumn("[dim]{task.fields[note]}"), console=console) as progress:
        for number, case in enumerate(cases, 1):
            line = progress.add_task(f"{number}/{len(cases)} {case}", total=1, note="")
            outcome = launch(case, size, lambda text, line=line: progress.update(line, note=text))  # type: ignore[misc]
            colour = "red" if outcome.failed else "dim"
            progress.update(line, completed=1, note=f"[{colour}]{outcome.status}[/]")
            outcomes[case] = outcome
    return outcomes


def explain(outcomes: dict[Case, Outcome], console: Console) -> None:
    """Say why a case has no numbers."""
    for case, outcome in outcomes.items():
        if outcome.status != "ok":
            console.print(f"[bold]{case}[/] {outcome.status}: ", end="")
            console.print(outcome.detail, markup=False, highlight=False)


def save(path: Path, size: str, about: dict[str, object], outcomes: dict[Case, Outcome], judged: list[Judged]) -> None:
    """Write the machine, every metric and every verdict."""
    document = {
        "size": size,
        "machine": about,
        "outcomes": [asdict(outcome) for outcome in outcomes.values()],
        "comparisons": [asdict(item) for item in judged],
    }
    path.write_text(json.dumps(document, indent=2) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, save; 1 when something was lost, wrong or broken, whatever the speed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED))  # unlike the default, this ends the running case
    options = parse(arguments)
    try:
        cases = chosen(options.only)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if options.list:
        print(*cases, sep="\n")
        return 0
    console, size = Console(stderr=True), "quick" if options.quick else "full"
    about = machine.describe()
    outcomes = run_all(cases, size, console)
    rows = [row.judge(outcomes) for row in targets.comparisons() if row.concerns(outcomes)]
    output = Console() if sys.stdout.isatty() else Console(width=TABLE_WIDTH)
    title = f"{about['processor']}, {about['cpus']} CPUs, Python {about['python']}, {size} size"
    output.print(table.build(rows, outcomes, title))
    explain(outcomes, console)
    if options.json:
        save(options.json, size, about, outcomes, rows)
    return int(any(outcome.failed for outcome in outcomes.values()))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
