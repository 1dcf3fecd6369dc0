"""Docstrings in the Google style, taken apart and written as Markdown."""

from __future__ import annotations

import inspect
import re

SECTIONS = ("Args", "Attributes", "Raises", "Returns", "Yields")
_ENTRY = re.compile(r"(?P<name>[A-Za-z_][\w.]*(?:, [A-Za-z_][\w.]*)*): (?P<text>.*)", re.DOTALL)


class Docstring:
    """One docstring: its text and its sections."""

    def __init__(self, text: str) -> None:
        self.text = ""
        self._sections: dict[str, list[str]] = {}
        current: list[str] | None = None
        prose: list[str] = []
        for line in inspect.cleandoc(text).splitlines():
            if line.endswith(":") and line[:-1] in SECTIONS:
                current = self._sections.setdefault(line[:-1], [])
            elif current is not None and (not line or line.startswith("    ")):
                self._add(current, line[4:])
            else:
                current = None
                prose.append(line)
        self.text = "\n".join(prose).strip()

    @staticmethod
    def _add(entries: list[str], line: str) -> None:
        if line.startswith("    ") and entries:  # goes on with the entry above
            entries[-1] += f" {line.strip()}"
        elif line:
            entries.append(line)

    def section(self, name: str) -> list[tuple[str, str]]:
        """(name, text) of each entry; the name is empty where there is none."""
        pairs = []
        for entry in self._sections.get(name, []):
            found = _ENTRY.fullmatch(entry)
            pairs.append((found["name"], markdown(found["text"])) if found else ("", markdown(entry)))
        return pairs

    def summary(self) -> str:
        """The first paragraph, on one line."""
        return " ".join(markdown(self.text.split("\n\n")[0]).split())

    def as_markdown(self) -> str:
        """All of it."""
        parts = [markdown(self.text)] if self.text else []
        for name in SECTIONS:
            entries = [f"- `{key}`: {text}" if key else f"- {text}" for key, text in self.section(name)]
            if entries:
                parts.append("\n".join([f"{_TITLES.get(name, name)}:", "", *entries]))
        return "\n\n".join(parts)


_TITLES = {"Args": "Arguments"}


def markdown(text: str) -> str:
    """Double backticks are single ones in Markdown."""
    return text.replace("``", "`")
