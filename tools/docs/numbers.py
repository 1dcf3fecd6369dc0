"""The numbers of htcgrid_core/domain/limits.py as tables."""

from __future__ import annotations

import ast
import inspect
import re
from typing import Any

from htcgrid_core.domain import limits

_UNITS = (("_SECONDS", "s"), ("_BYTES", "B"), ("_TASKS", "tasks"))


def tables() -> str:
    """Every number under its heading, with its unit and what is said of it."""
    parts: list[str] = []
    for line in inspect.getsource(limits).splitlines():
        if line.startswith("# "):
            parts += ["", f"**{line.removeprefix('# ').replace('|', ',')}**", "", *_HEAD]
        elif ": Final = " in line:
            if not parts or parts[-1] == "":
                parts += _HEAD
            name, comment = line.split(":")[0], line.partition("  # ")[2]
            parts.append(f"| `{name}` | {_value(name, getattr(limits, name))} | {comment} |")
        elif not line and parts and parts[-1] != "":
            parts.append("")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).strip()


_HEAD = ["| name | value | |", "|---|---|---|"]


def for_users() -> str:
    """The few numbers that a user may run into."""
    lines = ["| what | limit |", "|---|---|"]
    return "\n".join([*lines, *(f"| {text} | {_value(name, getattr(limits, name))} |" for name, text in _FOR_USERS)])


_FOR_USERS = (
    ("MAX_SESSION_TASKS", "tasks of one session"),
    ("MAX_EVENT_BYTES", "one event, encoded"),
    ("MAX_RESULT_BYTES", "one result, encoded"),
    ("CAPTURE_BYTES", "of what a task prints, kept of each of stdout and stderr"),
    ("MAX_ATTEMPTS", "executions of a task, unless a retry policy says otherwise"),
    ("WORKER_START_SECONDS", "time to import a handler"),
    ("RETENTION_SECONDS", "a session can be read after its end for"),
)


def relations() -> str:
    """What is asserted of the numbers when the module is imported."""
    lines = []
    for node in ast.parse(inspect.getsource(limits)).body:
        if isinstance(node, ast.Assert):
            reason = f": {ast.literal_eval(node.msg)}" if node.msg is not None else ""
            lines.append(f"- `{ast.unparse(node.test)}`{reason}")
    return "\n".join(lines)


def _value(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value(name, number)}" for key, number in value.items())
    unit = next((unit for suffix, unit in _UNITS if name.endswith(suffix)), "")
    if unit == "B" and value >= 1024:
        return f"{value >> 20:,} MiB" if value % (1 << 20) == 0 else f"{value >> 10:,} KiB"
    if unit == "s" and 0 < abs(value) < 1:
        return f"{value * 1000:g} ms"
    if unit == "s" and value >= 86400:
        return f"{value / 86400:g} days"
    return f"{value:,g} {unit}".strip() if isinstance(value, float) else f"{value:,} {unit}".strip()
