"""The operations and problems of the REST API as tables."""

from __future__ import annotations

from htcgrid_core.api.operations import OPERATIONS
from htcgrid_core.codecs.problems import KINDS


def operations() -> str:
    """Every operation, with the scope that it needs."""
    lines = ["| | | scope | |", "|---|---|---|---|"]
    for one in OPERATIONS:
        scope = "none" if one.scope is None else f"`{one.scope}`"
        lines.append(f"| {one.method} | `{one.path}` | {scope} | {one.summary} |")
    return "\n".join(lines)


def problems() -> str:
    """Every code, with its status."""
    lines = ["| code | status | |", "|---|---|---|"]
    in_order = sorted(KINDS.values(), key=lambda kind: (kind.status, kind.code))
    return "\n".join([*lines, *(f"| `{kind.code}` | {kind.status} | {kind.title} |" for kind in in_order)])
