"""Pages of the documentation, taken apart: fenced blocks, headings, links and names of files and tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"```(?P<language>[a-z]*)\n(?P<code>.*?)```\n?", re.DOTALL)
_NOTE = re.compile(r"<!-- (?P<text>.*) -->\n$")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_TEST = re.compile(r"`(?P<path>(?:tests|htcgrid_core)/[\w/]+\.py)::(?P<name>[\w:]+)`")
_FILE = re.compile(r"`(?P<path>(?:tests|tools|htcgrid_core|example_dags|docs)/[\w./-]*)`")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        line: of its first line of code in the page.
        note: the HTML comment on the line above the fence, if there is one.
    """

    line: int
    language: str
    code: str
    note: str

    @property
    def is_run(self) -> bool:
        """Whether it is a program that must work as it stands."""
        return self.language in ("python", "bash") and not self.note.startswith(("not run: ", "file: "))


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page."""
    found = []
    for match in _FENCE.finditer(page):
        before = page[: match.start()]
        note = _NOTE.search(before)
        line = before.count("\n") + 2
        found.append(Block(line, match["language"], match["code"], note["text"] if note else ""))
    return found


def with_outputs(page: str) -> list[tuple[Block, str | None]]:
    """The fenced blocks of a page, each with what the page shows that it prints."""
    found = blocks(page)
    return [
        (block, following.code if following is not None and following.note == "output" else None)
        for block, following in zip(found, [*found[1:], None], strict=True)
    ]


def prose(page: str) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page)


def anchors(page: str) -> set[str]:
    """What a link into a page may name: its headings, as GitHub spells them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def tables(page: str, heading: str) -> list[list[list[str]]]:
    """The tables below a heading of the second level, each as the cells of its rows, without their head."""
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", prose(page), re.MULTILINE | re.DOTALL)
    found = re.findall(r"(?:^\|.*\n)+", section[1] if section else "", re.MULTILINE)
    return [[[cell.strip() for cell in row.strip("|").split("|")] for row in rows.splitlines()[2:]] for rows in found]


def links(page: str) -> list[str]:
    """Targets of the page's links."""
    return [match["target"] for match in _LINK.finditer(prose(page))]


def named_tests(page: str) -> Iterator[tuple[Path, str]]:
    """(file, name) of each test that a page names as ``path::name``."""
    for match in _TEST.finditer(page):
        yield Path(match["path"]), match["name"]


def named_files(page: str) -> Iterator[Path]:
    """Files and folders of the repository that a page names."""
    for match in _FILE.finditer(page):
        yield Path(match["path"])
