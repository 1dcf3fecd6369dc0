"""``htcgrid functions recommend``: what functions' tasks should be given, by what they have used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from htcgrid_core.cli.options import grid_options
from htcgrid_core.cli.output import add_row, print_json, say, show, table

if TYPE_CHECKING:
    from htcgrid_core.services.recommending import Recommendation

UNKNOWN = "unknown"


@click.command(short_help="Propose memory and cores for functions, by what their tasks used.")
@click.argument("name", required=False)
@grid_options
def recommend(url: str, as_json: bool, name: str | None) -> None:
    """Propose memory and cores for functions, with the figures behind it.

    NAME or NAME:VERSION of a deployed function, or the name under which a session shows another one; without it, all
    that agents have measured in the last 30 days. Memory is the highest peak and a quarter more; a function of which no
    task was measured is unknown. Looks into local:// and aws:// grids themselves.
    """
    from htcgrid_core.cli.planes import opened
    from htcgrid_core.local.recommended import recommended

    with opened(url) as grid:
        found = recommended(grid.plane, name)
    if as_json:
        for each in found:
            print_json(_view(each))
        return
    if not found:
        say("no task was measured on this grid yet")
        return
    rows = table(
        "function", "tasks", "memory", "declared", "usual", "peak", "out of memory", "cores", "busy", "why",
        numbers=("tasks", "memory", "declared", "usual", "peak", "out of memory", "cores", "busy"),
        folds=["why"], spares=("usual", "busy", "out of memory", "declared"),
    )  # fmt: skip
    for each in found:
        usage = each.usage
        add_row(
            rows, each.function, f"{usage.tasks:,}" if usage else "0", _mib(each.memory_mb) or UNKNOWN,
            _mib(each.declared_memory_mb), _mib(each.usual_mb), _mib(usage.peak_mb if usage else 0),
            str(usage.out_of_memory if usage else 0), UNKNOWN if each.cpus is None else f"{each.cpus:g}",
            f"{each.mean_cores:.2f}" if usage else "", each.why,
        )  # fmt: skip
    show(rows)


def _mib(value: float | None) -> str:
    return f"{value:,.0f} MiB" if value else ""


def _view(found: Recommendation) -> dict[str, Any]:
    """As a JSON object: the names that scripts rely on."""
    usage = found.usage
    return {
        "function": found.function,
        "memory_mb": found.memory_mb,
        "cpus": found.cpus,
        "known": found.is_known,
        "why": found.why,
        "tasks": usage.tasks if usage else 0,
        "peak_mb": round(usage.peak_mb, 1) if usage else None,
        "usual_mb": round(found.usual_mb, 1) if usage else None,
        "out_of_memory": usage.out_of_memory if usage else 0,
        "too_little_mb": (usage.too_little_mb or None) if usage else None,
        "mean_cores": round(found.mean_cores, 3) if usage else None,
        "cpu_seconds": round(usage.cpu_seconds, 3) if usage else 0.0,
        "measured_at": usage.at if usage else None,
        "declared_memory_mb": found.declared_memory_mb,
        "declared_cpus": found.declared_cpus,
    }
