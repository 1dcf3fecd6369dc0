"""Where things are in this repository."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "htcgrid_core"
INFRA = REPOSITORY / "infra" / "terraform"


def documents() -> list[Path]:
    """Every page of the documentation."""
    folders = (REPOSITORY / name for name in ("agent", "docs", "infra"))
    return [*sorted(REPOSITORY.glob("*.md")), *(page for folder in folders for page in sorted(folder.rglob("*.md")))]
