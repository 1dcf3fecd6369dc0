"""Words that have to be true: how to install, what an example needs, what there is for production."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.e2e.command_line import CommandLine
from tests.e2e.support import REPOSITORY

EXAMPLES = REPOSITORY / "example_dags"
WORDS = [
    path
    for folder in ("docs", "example_dags", "htcgrid_core", "htcgrid_airflow", "htcgrid_prefect", "agent")
    for path in (REPOSITORY / folder).rglob("*")
    if path.suffix in {".md", ".py"}
]


def test_nobody_is_sent_to_a_release_that_is_not_there() -> None:
    found = [
        path for path in (REPOSITORY / "README.md", *WORDS) if re.search(r"pip install ['\"]?htcgrid", path.read_text())
    ]
    assert found == []


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*_*s/*.py")), ids=lambda path: path.name)
def test_an_example_says_what_else_it_needs(path: Path) -> None:
    tree = ast.parse(path.read_text())
    imported = {
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    needs_more = any((EXAMPLES / f"{name}.py").exists() for name in imported)
    assert ("PYTHONPATH" in (ast.get_docstring(tree) or "")) is needs_more


def test_what_there_is_for_production(shell: CommandLine) -> None:
    text = " ".join(shell.call("aws", "--help").out.split())
    assert "infra/terraform, which nobody has applied to AWS yet" in text
    assert (REPOSITORY / "infra" / "terraform").is_dir()
