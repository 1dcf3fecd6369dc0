"""The lifecycles as diagrams and tables, from the one table in htcgrid_core/domain/lifecycle.py."""

from __future__ import annotations

import ast
import inspect
import io
import tokenize
from enum import StrEnum
from typing import Any

from htcgrid_core.domain import lifecycle
from htcgrid_core.domain.lifecycle import SESSION, TASK, Lifecycle, SessionEvent, TaskEvent


def session() -> str:
    """The session's life."""
    return _drawn(SESSION, SessionEvent)


def task() -> str:
    """The task's life."""
    return _drawn(TASK, TaskEvent)


def _drawn(cycle: Lifecycle[Any, Any], events: type[StrEnum]) -> str:
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {cycle.initial}"]
    lines += [f"    {before} --> {after}: {event}" for (before, event), after in cycle.table.items()]
    terminal = dict.fromkeys(after for after in cycle.table.values() if cycle.is_terminal(after))
    lines += [f"    {state} --> [*]" for state in terminal]
    lines += ["```", "", "| event | when | from | to |", "|---|---|---|---|"]
    reasons = _comments(events)
    for event in events:
        sources = ", ".join(cycle.sources(event))
        lines.append(f"| {event} | {reasons.get(event.name, '')} | {sources} | {cycle.target(event)} |")
    return "\n".join(lines)


def _comments(enum: type[StrEnum]) -> dict[str, str]:
    """The comment behind each member."""
    source = inspect.getsource(lifecycle)
    (node,) = (n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == enum.__name__)
    members = {
        statement.lineno: statement.targets[0].id
        for statement in node.body
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
    }
    return {
        members[token.start[0]]: token.string.removeprefix("#").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT and token.start[0] in members
    }
