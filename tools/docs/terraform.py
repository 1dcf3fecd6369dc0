"""Variables and outputs of the Terraform modules as tables, from their sources as ``terraform fmt`` leaves them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tools.docs.places import INFRA

_BLOCK = re.compile(r'^(?:variable|output) "(?P<name>\w+)" \{\n(?P<body>.*?)^\}', re.DOTALL | re.MULTILINE)
# An argument's value goes on for as long as its lines are indented deeper, or close what it opened.
_ARGUMENT = r"^  {name} += (?P<value>.*(?:\n    .*|\n  [}}\])].*)*)"


def modules() -> list[str]:
    """Names of the modules."""
    return sorted(path.parent.name for path in (INFRA / "modules").glob("*/variables.tf"))


def section(module: str, what: str) -> str:
    """What a generated part of a module's page is called."""
    return f"{module.replace('_', '-')}-{what}"


def variables(module: str) -> str:
    """What a module is given; those that it must be given first."""
    blocks = list(_blocks(INFRA / "modules" / module / "variables.tf"))
    lines = ["| variable | type | default | |", "|---|---|---|---|"]
    for name, body in sorted(blocks, key=lambda block: argument(block[1], "default") is not None):
        default = argument(body, "default")
        shown = f"`{default}`" if default is not None else "required"
        lines.append(f"| `{name}` | `{argument(body, 'type')}` | {shown} | {_description(body)} |")
    return "\n".join(lines)


def outputs(module: str) -> str:
    """What a module gives."""
    lines = ["| output | |", "|---|---|"]
    blocks = _blocks(INFRA / "modules" / module / "outputs.tf")
    return "\n".join([*lines, *(f"| `{name}` | {_description(body)} |" for name, body in blocks)])


def default(module: str, variable: str) -> str:
    """A variable's default as it is written.

    Raises:
        KeyError: there is no such variable, or it has none.
    """
    found = argument(dict(_blocks(INFRA / "modules" / module / "variables.tf"))[variable], "default")
    if found is None:
        raise KeyError(f"{variable} of the module {module} has no default")
    return found


def argument(body: str, name: str) -> str | None:
    """An argument of a block, on one line; None if the block has none of that name."""
    found = re.search(_ARGUMENT.format(name=name), body, re.MULTILINE)
    if found is None:
        return None
    members = re.sub(r"(?<=[^{(\[])\n +(?![ })\]])", ", ", found["value"])
    return re.sub(r"\s+", " ", members)


def _blocks(path: Path) -> Iterator[tuple[str, str]]:
    for found in _BLOCK.finditer(path.read_text()):
        yield found["name"], found["body"]


def _description(body: str) -> str:
    return (argument(body, "description") or "").strip('"').replace("|", r"\|")
