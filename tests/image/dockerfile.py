"""A Dockerfile taken apart, as far as ours goes."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Step:
    """One instruction.

    Attributes:
        stage: 0 is what builds, 1 the image.
    """

    stage: int
    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """Its arguments, without options."""
        return [word for word in shlex.split(self.text) if not word.startswith("--")]

    @property
    def variables(self) -> dict[str, str]:
        """Of ENV."""
        return dict(word.split("=", 1) for word in shlex.split(self.text))


def steps(file: Path) -> list[Step]:
    """All instructions, in order."""
    text = re.sub(r"(?m)^#.*\n", "", file.read_text()).replace("\\\n", " ")
    found: list[Step] = []
    stage = -1
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, rest = line.partition(" ")
        stage += name == "FROM"
        found.append(Step(stage, name, rest.strip()))
    return found
