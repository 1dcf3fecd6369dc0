"""What can be told of a Python source without running it."""

from __future__ import annotations

import ast

from htcgrid_core.domain.errors import FunctionNotFound


def top_level_names(source: bytes, where: str) -> set[str] | None:
    """Names that a source file defines or imports; None if that cannot be told from its text.

    Raises:
        FunctionNotFound: it is not Python.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise FunctionNotFound(f"{where} cannot be parsed: {error}") from error
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            if any(alias.name == "*" for alias in node.names):
                return None
            names.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
    return None if "__getattr__" in names else names
