"""One thing that a grid has in an account, whatever it is."""

from __future__ import annotations

from typing import Protocol


class Resource(Protocol):
    """A table, queue, bucket or parameter."""

    @property
    def label(self) -> str:
        """What it is, for people: ``queue htcgrid_book_default_high``."""

    def owner(self) -> str | None:
        """The grid that its tag names; empty if it has no such tag, None if it is not there."""

    def claim(self, grid: str) -> None:
        """Tag it as a grid's."""

    def named_in(self, parameter: str) -> bool:
        """Whether a grid's parameter names it."""

    def remove(self) -> None:
        """Remove it, if it is there."""
