"""Where things are in this repository."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "htcgrid_core"


def documents() -> list[Path]:
    """Every page of the documentation."""
    return [*sorted(REPOSITORY.glob("*.md")), *sorted((REPOSITORY / "docs").rglob("*.md"))]
