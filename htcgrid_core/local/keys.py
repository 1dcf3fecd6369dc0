"""What operators do to the keys of a grid, of whichever kind: see them, make one more, drop old ones."""

from htcgrid_core.services.keys import KeyUse, prune, rotate, uses

__all__ = ["KeyUse", "prune", "rotate", "uses"]
