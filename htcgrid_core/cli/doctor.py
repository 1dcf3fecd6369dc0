"""``htcgrid doctor``: what is wrong, and what to do about it."""

from __future__ import annotations

import dataclasses

import click

from htcgrid_core.cli.exits import Exit
from htcgrid_core.cli.options import grid_options
from htcgrid_core.cli.output import echo, print_json
from htcgrid_core.domain.printable import printable

COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}
INDENT = " " * 9


@click.command(short_help="Look at everything the grid rests on; say what is wrong and what to do.")
@grid_options
def doctor(url: str, as_json: bool) -> None:
    """Look at everything an embedded grid rests on; say what is wrong and what to do.

    If its directory can be used, one task is run in it, with agents started as by a submit. Exit code 1 if there is a
    problem; warnings leave it 0.
    """
    from htcgrid_core.local.address import parse_local
    from htcgrid_core.local.doctor import Verdict, examine

    directory, fleet = parse_local(url)
    problems = warnings = 0
    for finding in examine(directory, fleet):
        problems += finding.verdict is Verdict.PROBLEM
        warnings += finding.verdict is Verdict.WARNING
        if as_json:
            print_json(dataclasses.asdict(finding))
            continue
        mark = click.style(f"{finding.verdict:8}", fg=COLOURS[finding.verdict])
        message = printable(f"{finding.check}: {finding.message}")
        click.echo(f"{mark} {message}".replace("\n", f"\n{INDENT}"))
        if finding.advice:
            echo(f"{INDENT}{finding.advice}")
    if not as_json:
        click.echo(f"{problems} problems, {warnings} warnings")
    if problems:
        click.get_current_context().exit(Exit.FAILED)
