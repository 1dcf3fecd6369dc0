"""What can be told of a Python source without running it."""

from __future__ import annotations

import ast
import re
from collections import Counter

from htcgrid_core.domain.errors import FunctionNotFound, InvalidInput


class Definitions:
    """Names that a source file defines or imports.

    Raises:
        FunctionNotFound: it is not Python.
    """

    def __init__(self, source: bytes, where: str) -> None:
        self._where = where
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError) as error:
            raise FunctionNotFound(f"{where} cannot be parsed: {error}") from error
        self._names: Counter[str] = Counter()
        self._can_be_told = True
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self._names[node.name] += 1
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self._names[node.id] += 1
            elif isinstance(node, ast.Import | ast.ImportFrom):
                self._can_be_told &= all(alias.name != "*" for alias in node.names)
                self._names.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        self._can_be_told &= "__getattr__" not in self._names
        self._functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}

    def check_handler(self, name: str) -> None:
        """Whether a handler may have this name.

        Raises:
            FunctionNotFound: nothing has it.
            InvalidInput: it is that of a function that cannot be called as ``handler(event, context)``.
        """
        if self._can_be_told and name not in self._names:
            raise FunctionNotFound(f"{self._where} has no function {name!r}")
        function = self._functions.get(name)
        if function is None or self._names[name] > 1 or function.decorator_list or takes_two(function.args):
            return
        raise InvalidInput(
            f"{name}({ast.unparse(function.args)}) in {self._where} cannot be called as {name}(event, context), as "
            "handlers are"
        )


def takes_two(parameters: ast.arguments) -> bool:
    """Whether two positional arguments can be given, and suffice."""
    positional = len(parameters.posonlyargs) + len(parameters.args)
    needed = positional - len(parameters.defaults)
    named = any(default is None for default in parameters.kw_defaults)
    return needed <= 2 and (positional >= 2 or parameters.vararg is not None) and not named


DURABLE_PACKAGE = "aws_durable_execution_sdk"  # how the names of AWS's packages begin
DURABLE_IN_NODE = "withDurableExecution"  # of @aws/durable-execution-sdk-js


def is_durable(source: bytes, name: str) -> bool:
    """Whether a function of a Python source is one of AWS's durable functions, as far as its text tells."""
    tree = ast.parse(source)
    imported = {
        (alias.asname or alias.name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if (alias.name if isinstance(node, ast.Import) else node.module or "").startswith(DURABLE_PACKAGE)
    }
    wrapped: list[ast.expr] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            wrapped += node.decorator_list
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(at, ast.Name) and at.id == name for at in targets):
                wrapped += _handed_on(node.value)
    return any(_called(expression) in imported for expression in wrapped)


def is_durable_in_node(source: bytes, name: str) -> bool:
    """The same of a JavaScript source."""
    compiled = r"(\(\s*0\s*,\s*)?"  # how compilers write a call of what a module exports
    export = rf"\b{re.escape(name)}\s*[=:]\s*{compiled}[\w.$]*{DURABLE_IN_NODE}\s*\)?\s*\("
    return re.search(export.encode(), source) is not None


def _handed_on(expression: ast.expr) -> list[ast.expr]:
    """An expression, and the calls whose values it hands to what it calls."""
    found = [expression]
    if isinstance(expression, ast.Call):
        for handed in (*expression.args, *(keyword.value for keyword in expression.keywords)):
            if isinstance(handed, ast.Call):
                found += _handed_on(handed)
    return found


def _called(expression: ast.expr) -> str:
    """The first name in what is called, or named: ``sdk`` in ``@sdk.durable_execution(plugins=[])``."""
    while isinstance(expression, ast.Call | ast.Attribute):
        expression = expression.func if isinstance(expression, ast.Call) else expression.value
    return expression.id if isinstance(expression, ast.Name) else ""
