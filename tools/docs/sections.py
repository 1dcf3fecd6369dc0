"""Generated sections of a page, between ``<!-- generated: NAME -->`` and ``<!-- end of NAME -->``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_SECTION = re.compile(
    r"(?P<head><!-- generated: (?P<name>[a-z_-]+) -->\n).*?(?P<tail><!-- end of (?P=name) -->)", re.DOTALL
)
_HEAD = re.compile(r"<!-- generated: ([a-z_-]+) -->")


def names(page: str) -> list[str]:
    """The sections that a page has, with or without an end."""
    return _HEAD.findall(page)


def filled(page: str, generators: Mapping[str, Callable[[], str]]) -> str:
    """The page with each generated section written anew.

    Raises:
        ValueError: a section has no end or no generator.
    """
    complete = [found["name"] for found in _SECTION.finditer(page)]
    if complete != names(page):
        raise ValueError(f"sections without an end: {sorted(set(names(page)) - set(complete))}")
    unknown = set(complete) - set(generators)
    if unknown:
        raise ValueError(f"nothing generates {sorted(unknown)}")

    def written(section: re.Match[str]) -> str:
        return f"{section['head']}\n{generators[section['name']]().strip()}\n\n{section['tail']}"

    return _SECTION.sub(written, page)
