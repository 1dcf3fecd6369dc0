"""Names of what a grid has on AWS: no two grids, nor two pools, come by the same one.

Names of grids and of pools have hyphens in them, so that a hyphen between the two could be part of either. What is made
of both is put together with underscores, which neither has.
"""

from __future__ import annotations

PREFIX = "htcgrid"
PRIORITIES = ("high", "normal", "low", "dead")


def table(grid: str) -> str:
    """The table's name, which ends with the grid's."""
    return f"{PREFIX}-{grid}"


def queue(grid: str, pool: str, priority: str) -> str:
    """The name of a pool's queue of a priority, or of ``dead`` letters."""
    return f"{PREFIX}_{grid}_{pool}_{priority}"


def queue_prefixes(grid: str) -> tuple[str, ...]:
    """With which names of a grid's queues begin: now, and in earlier versions, whose prefix other grids' have too."""
    return f"{PREFIX}_{grid}_", f"{PREFIX}-{grid}-"


def bucket(grid: str, account: str, region: str) -> str:
    """The bucket's name, its own in all accounts: those allow no underscore, but twelve digits are no grid's end."""
    return f"{PREFIX}-{grid}-{account}-{region}"
