"""No module needs itself: whoever reads one file meets none that leads back to it, for type checkers or late either."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from tools.docs.places import REPOSITORY

PACKAGES = ("htcgrid_core", "htcgrid_airflow", "htcgrid_prefect")
EXAMPLES = REPOSITORY / "example_dags"
Graph = dict[str, set[str]]


def test_no_import_leads_back() -> None:
    found = circles(import_graph(sources()))
    assert not found, "circles of imports:\n" + "\n".join(found)


def test_a_circle_is_found_and_named() -> None:
    files = {
        "a": "def late():\n    import b",
        "b": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from c.d import Name",
        "c": "",
        "c.d": "from c import e",
        "c.e": "import a.late, f",
        "f": "import a",
    }
    assert circles(import_graph(files)) == ["a -> b -> c.d -> c.e -> a", "a -> b -> c.d -> c.e -> f -> a"]


def sources() -> dict[str, str]:
    """The text of each module, by its name."""
    return {
        name: path.read_text()
        for root, folder in ((EXAMPLES, EXAMPLES), *((REPOSITORY, REPOSITORY / package) for package in PACKAGES))
        for path in folder.rglob("*.py")
        if (name := _name_of(path.relative_to(root)))
    }


def _name_of(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_graph(files: dict[str, str]) -> Graph:
    """Which of the modules each imports: anywhere in its text, inside of functions and for type checkers too."""
    return {
        name: {module for imported in _imported(text) if (module := _module_in(imported, files)) and module != name}
        for name, text in files.items()
    }


def _imported(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            assert not node.level, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _module_in(imported: str, files: dict[str, str]) -> str:
    """The module that an imported name is, or is in; empty if it is none of these."""
    while imported and imported not in files:
        imported = imported.rpartition(".")[0]
    return imported


def circles(graph: Graph) -> list[str]:
    """Each circle of a graph as the way around it; when one is found, its last import is left out for the next."""
    left = {name: set(targets) for name, targets in graph.items()}
    found = []
    while True:
        try:
            TopologicalSorter(left).prepare()
        except CycleError as error:
            around: list[str] = error.args[1][::-1]
            first = around.index(min(around))
            found.append(" -> ".join([*around[first:-1], *around[: first + 1]]))
            left[around[-2]].discard(around[-1])
        else:
            return sorted(found)
