"""The reference of the public names, from signatures and docstrings in the source."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import htcgrid_core
from htcgrid_core.domain.measurement import Measurement
from htcgrid_core.ports.session_store import AuditEntry
from tools.docs.docstrings import Docstring

LINE = 100
FIRST = ("connect", "Grid", "Session", "RetryPolicy", "GridExecutor", "SharedInput", "Context")
FOR_THE_EXECUTOR = ("Session.encoded_pages",)  # public to another file of the client, not to users
RETURNED = (AuditEntry, Measurement)  # by public methods, though they are not exported
Function = ast.FunctionDef | ast.AsyncFunctionDef


def reference() -> str:
    """All public names: the ones that people begin with, then the others by kind."""
    public = [name for name in htcgrid_core.__all__ if name != "__version__"]
    errors = [name for name in public if _is_error(name)]
    others = [name for name in public if name not in FIRST and name not in errors]
    parts = [_entry(getattr(htcgrid_core, name), name) for name in (*FIRST, *others)]
    parts += [_entry(kind, kind.__name__) for kind in RETURNED]
    return "\n\n".join([*parts, _errors(errors)])


def _is_error(name: str) -> bool:
    found = getattr(htcgrid_core, name)
    return isinstance(found, type) and issubclass(found, BaseException)


def _entry(found: Any, name: str) -> str:
    node = _node(found, htcgrid_core._HOMES.get(name, found.__module__))
    if isinstance(node, ast.ClassDef):
        return _class(node, found, name)
    return f"## {name}\n\n{_documented(node, name)}"


def _node(found: Any, module: str) -> ast.ClassDef | Function:
    """Where the source says what it is."""
    path = Path(importlib.import_module(module).__file__ or "")
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef | Function) and node.name == found.__name__:
            return node
    raise LookupError(f"{found} is not in {path}")


def _class(node: ast.ClassDef, found: type, name: str) -> str:
    parts = [f"## {name}", Docstring(ast.get_docstring(node) or "").as_markdown()]
    if issubclass(found, Enum):
        parts.append(", ".join(f"`{member.value}`" for member in found))
    fields = "\n".join(_fields(node))
    if fields:
        parts.append(f"```py\n{fields}\n```")
    for member in node.body:
        if f"{name}.{getattr(member, 'name', '_')}" in FOR_THE_EXECUTOR:
            continue
        if isinstance(member, Function) and not member.name.startswith("_"):
            parts.append(f"### {name}.{member.name}")
            parts.append(_documented(member, member.name))
    return "\n\n".join(part for part in parts if part)


def _fields(node: ast.ClassDef) -> Iterator[str]:
    for member in node.body:
        if isinstance(member, ast.AnnAssign) and not ast.unparse(member.target).startswith(("_", "model_")):
            yield ast.unparse(ast.AnnAssign(member.target, member.annotation, _default(member.value), simple=1))


def _default(value: ast.expr | None) -> ast.expr | None:
    """What a field's default is; of pydantic's ``Field(default=...)``, the default."""
    if isinstance(value, ast.Call):
        return next((keyword.value for keyword in value.keywords if keyword.arg == "default"), None)
    return value


def _documented(node: ast.ClassDef | Function, name: str) -> str:
    assert isinstance(node, Function)
    text = Docstring(ast.get_docstring(node) or "").as_markdown()
    if any(isinstance(each, ast.Name) and each.id == "property" for each in node.decorator_list):
        return f"```py\n{name}: {ast.unparse(node.returns) if node.returns else 'Any'}\n```\n\n{text}"
    return f"```py\n{signature(node, name)}\n```\n\n{text}"


def signature(node: Function, name: str) -> str:
    """A call as it is written, on one line if it fits."""
    arguments = list(_arguments(node.args))
    end = f") -> {ast.unparse(node.returns)}" if node.returns else ")"
    line = f"{name}({', '.join(arguments)}{end}"
    if len(line) <= LINE:
        return line
    return "\n".join([f"{name}(", *(f"    {argument}," for argument in arguments), end])


def _arguments(found: ast.arguments) -> Iterator[str]:
    positional = [*found.posonlyargs, *found.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(found.defaults)) + list(found.defaults)
    for at, (argument, default) in enumerate(zip(positional, defaults, strict=True)):
        if argument.arg not in ("self", "cls"):
            yield _argument(argument, default)
        if found.posonlyargs and at == len(found.posonlyargs) - 1:
            yield "/"
    if found.vararg:
        yield f"*{_argument(found.vararg, None)}"
    elif found.kwonlyargs:
        yield "*"
    for argument, default in zip(found.kwonlyargs, found.kw_defaults, strict=True):
        yield _argument(argument, default)
    if found.kwarg:
        yield f"**{_argument(found.kwarg, None)}"


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    text = f"{argument.arg}: {ast.unparse(argument.annotation)}" if argument.annotation else argument.arg
    if default is None:
        return text
    return f"{text}{' = ' if argument.annotation else '='}{ast.unparse(default)}"


def _errors(names: list[str]) -> str:
    """The tree of exceptions; who derives from whom, and when each is raised."""
    kinds = sorted((getattr(htcgrid_core, name) for name in names), key=lambda kind: (len(kind.__mro__), kind.__name__))
    lines = ["## Errors", "", "Every error that is raised on purpose is a `GridError`.", ""]
    lines += ["| error | is also | when |", "|---|---|---|"]
    details = []
    for kind in kinds:
        docstring = Docstring(inspect.getdoc(kind) or "")
        bases = ", ".join(f"`{base.__name__}`" for base in kind.__bases__)
        lines.append(f"| `{kind.__name__}` | {bases} | {docstring.summary()} |")
        attributes = [f"- `{kind.__name__}.{key}`: {text}" for key, text in docstring.section("Attributes")]
        details += attributes
    return "\n".join([*lines, "", "Attributes:", "", *details])
