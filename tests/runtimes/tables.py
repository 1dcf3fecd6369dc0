"""Tables in the documents that tests make: they hold what was found last, and a test says when that has changed.

``make compare-lambda`` writes them anew.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

HANDLERS = Path(__file__).parents[2] / "docs" / "handlers.md"
WRITE_VARIABLE = "HTCGRID_WRITE_TABLES"


def lines_of(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def check(name: str, text: str) -> None:
    """Whether the documents have this table between ``<!-- table: NAME -->`` and ``<!-- end of table NAME -->``."""
    text = f"\n{text}\n"
    page = HANDLERS.read_text()
    section = re.compile(rf"(?<=<!-- table: {name} -->\n).*?(?=<!-- end of table {name} -->)", re.DOTALL)
    found = section.search(page)
    assert found is not None, f"{HANDLERS} has no table {name}"
    if os.environ.get(WRITE_VARIABLE):
        HANDLERS.write_text(page[: found.start()] + text + page[found.end() :])
    else:
        assert found[0] == text, "what was found differs from the table: `make compare-lambda` writes it anew"
