"""Text of a session in what Prefect's UI renders as Markdown: shown as it is, and never a link, an image or HTML."""

from __future__ import annotations

import re

from htcgrid_core import printable_line

_SPECIAL = re.compile(r"[\\`*_{}\[\]<>()#+!|~]")
_LINKING = re.compile(r"[\\`\[\]<>!]")


def escaped(text: str) -> str:
    """For a description, which may use all of Markdown."""
    return _SPECIAL.sub(r"\\\g<0>", printable_line(text))


def cell(text: str) -> str:
    """For a table, where links alone are made of cells: the rest is left readable for whoever gets the rows as data."""
    return _LINKING.sub(r"\\\g<0>", printable_line(text))
