"""``htcgrid doctor``: what is wrong, and what to do about it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from htcgrid_core.cli.exits import Exit
from htcgrid_core.cli.options import ITS_CONTEXT, cluster_options, each_region, grid_options, is_aws
from htcgrid_core.cli.output import counted, echo, print_json
from htcgrid_core.domain.printable import printable

if TYPE_CHECKING:
    from htcgrid_core.local.doctor.finding import Findings

COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}
INDENT = " " * 9


@click.command(short_help="Look at everything the grid rests on; say what is wrong and what to do.")
@cluster_options
@grid_options
def doctor(url: str, as_json: bool, context: str | None, namespace: str | None) -> None:
    """Look at everything a grid rests on; say what is wrong and what to do.

    If the directory of an embedded grid can be used, one task is run in it, with agents started as by a submit. Of a
    grid on AWS everything is only read; what may not be read is said, with the permission that it takes. Where this
    machine knows a cluster of Kubernetes (the extra k8s, and a kubeconfig), its side is looked at, too. Of a grid in
    several regions each is looked at for itself.

    Exit code 1 if there is a problem; warnings leave it 0.
    """
    from htcgrid_core.local.doctor import Verdict

    problems = warnings = 0
    for finding in _of_aws(url, context, namespace) if is_aws(url) else _of_directory(url):
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
        click.echo(f"{counted(problems, 'problem')}, {counted(warnings, 'warning')}")
    if problems:
        click.get_current_context().exit(Exit.FAILED)


def _of_directory(url: str) -> Findings:
    from htcgrid_core.local.address import parse_local
    from htcgrid_core.local.doctor import examine

    return examine(*parse_local(url))


def _of_aws(url: str, context: str | None, namespace: str | None) -> Findings:
    from htcgrid_core.cloud.doctor import examine

    for one in each_region(url, context):
        without = "" if one.has_context else ITS_CONTEXT
        for finding in examine(one.address, one.context, namespace, without_cluster=without):
            check = finding.check if one.region is None else f"{one.region} {finding.check}"
            yield dataclasses.replace(finding, check=check)
