"""Links lead somewhere, named files and tests exist, generated parts are those that the code generates."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.docs.pages import anchors, links, named_files, named_tests, tables
from tools.docs.__main__ import GENERATORS
from tools.docs.places import REPOSITORY, documents
from tools.docs.sections import filled, names

every_page = pytest.mark.parametrize("page", documents(), ids=lambda page: str(page.relative_to(REPOSITORY)))


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{target}: there is no such file"
        assert not anchor or anchor in anchors(found.read_text()), f"{target}: there is no such heading"


@every_page
def test_named_files_exist(page: Path) -> None:
    missing = [str(path) for path in named_files(page.read_text()) if not (REPOSITORY / path).exists()]
    assert not missing


def test_where_things_are_is_true() -> None:
    """Each question of the architecture's table is answered by files that exist."""
    (table,) = tables((REPOSITORY / "docs" / "architecture.md").read_text(), "Where is ...?")
    assert len(table) >= 12
    for question, answer in table:
        paths = list(named_files(answer))
        assert paths, f"{question} has no file"
        assert all((REPOSITORY / path).is_file() for path in paths), question


def test_the_glossary_has_the_words_that_the_documents_use() -> None:
    """A word that is only in the glossary is not one of ours."""
    protocol = (REPOSITORY / "docs" / "protocol.md").read_text()
    (glossary,) = tables(protocol, "Glossary")
    words = [row[0] for row in glossary]
    assert words
    assert len(set(words)) == len(words)
    text = protocol.partition("## Glossary")[0] + (REPOSITORY / "docs" / "architecture.md").read_text()
    unused = [word for word in words if not re.search(rf"\b{word}(s|es)?\b", text, re.IGNORECASE)]
    assert not unused


@every_page
def test_named_tests_exist(page: Path) -> None:
    missing = [f"{path}::{name}" for path, name in named_tests(page.read_text()) if not _is_test(path, name)]
    assert not missing


def _is_test(path: Path, name: str) -> bool:
    if not (REPOSITORY / path).exists():
        return False
    body = ast.parse((REPOSITORY / path).read_text()).body
    if any(isinstance(node, ast.Assign) and ast.unparse(node) == f"{name} = Protocol.TestCase" for node in body):
        return True  # a state machine of hypothesis
    for part in name.split("::"):
        found = [
            node
            for node in body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == part
        ]
        if not found:
            return False
        body = found[-1].body
    return name.rpartition("::")[2].startswith("test_")


@every_page
def test_generated_parts_are_fresh(page: Path) -> None:
    text = page.read_text()
    assert filled(text, GENERATORS) == text, "run `make docs`"


def test_everything_generated_is_shown() -> None:
    shown = {name for page in documents() for name in names(page.read_text())}
    assert shown == set(GENERATORS)


def test_every_page_is_on_the_map() -> None:
    index = REPOSITORY / "docs" / "index.md"
    mapped = {(index.parent / target.partition("#")[0]).resolve() for target in links(index.read_text())}
    assert set(documents()) - mapped <= {index}
