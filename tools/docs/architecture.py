"""Which package imports which, read from the code and drawn along the layers of pyproject.toml."""

from __future__ import annotations

import ast
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tools.docs.docstrings import Docstring
from tools.docs.places import PACKAGE, REPOSITORY

ROOT = PACKAGE.name
ENGINES = ("htcgrid_airflow", "htcgrid_prefect")
Imports = dict[str, set[str]]


def layers() -> list[list[str]]:
    """The packages from the top down, as import-linter's contract has them; those in a row do not import each other."""
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]
    (contract,) = (each for each in settings["contracts"] if each.get("containers") == [ROOT])
    return [[name.strip() for name in row.split("|")] for row in contract["layers"]]


def imports() -> Imports:
    """What each package of the core imports of the others; imports for type checkers alone do not count."""
    found: Imports = defaultdict(set)
    for path in sorted(PACKAGE.rglob("*.py")):
        package = _package_of(path)
        for module in _imported(ast.parse(path.read_text())):
            parts = module.split(".")
            if parts[0] == ROOT and len(parts) > 1 and parts[1] != package:
                found[package].add(parts[1])
    return dict(found)


def _package_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ROOT


def _imported(tree: ast.AST) -> Iterator[str]:
    """Modules that a file imports, anywhere in it but under ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == ROOT)
        else:
            yield from _imported(node)


def _reachable(graph: Imports, start: str) -> set[str]:
    seen: set[str] = set()
    todo = [start]
    while todo:
        for target in graph.get(todo.pop(), set()) - seen:
            seen.add(target)
            todo.append(target)
    return seen


def direct(graph: Imports) -> Imports:
    """The arrows that are not implied by others: a transitive reduction, which is unique without cycles."""
    implied = {source: set[str]().union(*(_reachable(graph, via) for via in graph[source])) for source in graph}
    return {source: targets - implied[source] for source, targets in graph.items()}


def picture() -> str:
    """The packages as a diagram."""
    places = [name for row in layers() for name in row]
    known = imports()
    graph = {source: known.get(source, set()) & set(places) for source in places}
    lines = ["```mermaid", "flowchart TD"]
    lines += [f"    {name}[{name}]" for name in places]
    arrows = direct(graph)
    lines += [f"    {source} --> {target}" for source in places for target in places if target in arrows[source]]
    return "\n".join([*lines, "```"])


def table() -> str:
    """The packages in words: what each is, and all that it imports of the others."""
    graph = imports()
    places = [name for row in layers() for name in row]
    lines = ["| package | what it is | imports |", "|---|---|---|"]
    for name in places:
        targets = ", ".join(f"`{target}`" for target in places if target in graph.get(name, ())) or "nothing"
        lines.append(f"| `{name}` | {summary(PACKAGE / name / '__init__.py')} | {targets} |")
    return "\n".join(lines)


def packages() -> list[Path]:
    """The packages whose files are listed: the core from the bottom up, and the adapters of workflow engines."""
    core = [PACKAGE / name for row in reversed(layers()) for name in row]
    return [*core, *(REPOSITORY / name for name in ENGINES)]


def files(root: Path) -> str:
    """A package's modules, one line each, those of its folders behind its own."""
    paths = [path for path in root.rglob("*.py") if path != root / "__init__.py"]
    rows = [
        f"| {_named(path, root)} | {summary(path)} |" for path in sorted(paths, key=lambda path: _place(path, root))
    ]
    return "\n".join(["| file | what it does |", "|---|---|", *rows])


def _place(path: Path, root: Path) -> tuple[bool, tuple[str, ...]]:
    """Where a file stands in the listing: its package's own files first, then each folder, what it is at its head."""
    parts = path.relative_to(root).parts
    return len(parts) > 1, tuple("" if part == "__init__.py" else part for part in parts)


def _named(path: Path, root: Path) -> str:
    place = path.relative_to(root)
    return f"**`{place.parent}/`**" if place.name == "__init__.py" else f"`{place.with_suffix('')}`"


def summary(path: Path) -> str:
    """The first paragraph of a file's docstring, fit for a table."""
    return Docstring(ast.get_docstring(ast.parse(path.read_text())) or "").summary().replace("|", "\\|")
