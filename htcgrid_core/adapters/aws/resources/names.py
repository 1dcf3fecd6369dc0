"""Names of what a grid has on AWS: no two grids, nor two pools, come by the same one.

Names of grids and of pools have hyphens in them, so that a hyphen between the two could be part of either. What is made
of both is put together with underscores, which neither has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from htcgrid_core.domain.errors import InvalidInput

PREFIX = "htcgrid"
PRIORITIES = ("high", "normal", "low", "dead")
MAX_GRID, MAX_POOL = 24, 32
MAX_QUEUE_NAME, MAX_BUCKET_NAME = 80, 63  # SQS's and S3's
_WORDS = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


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


def check_grid(grid: str, account: str, region: str) -> None:
    """See that all names made of a new grid's are allowed.

    Raises:
        InvalidInput: which is not, and why.
    """
    if not _WORDS.fullmatch(grid) or not grid[0].isalpha() or len(grid) > MAX_GRID:
        raise InvalidInput(
            f"{grid!r} is not a new grid's name: up to {MAX_GRID} lower-case letters, digits and hyphens, of which the "
            "first is a letter and the last no hyphen; nothing was made"
        )
    name = bucket(grid, account, region)
    if len(name) > MAX_BUCKET_NAME:
        raise InvalidInput(
            f"grid {grid!r} needs a shorter name in {region}: its bucket would be {name}, {len(name)} characters, of "
            f"which S3 allows {MAX_BUCKET_NAME}; nothing was made"
        )


def check_pools(pools: Iterable[str]) -> None:
    """See that all names made of new pools' are allowed.

    Raises:
        InvalidInput: which pool's is not.
    """
    for pool in pools:
        if not _WORDS.fullmatch(pool) or len(pool) > MAX_POOL:
            raise InvalidInput(
                f"{pool!r} is not a new pool's name: up to {MAX_POOL} lower-case letters, digits and hyphens, of which "
                "neither the first nor the last is a hyphen; nothing was made"
            )


assert len(queue("g" * MAX_GRID, "p" * MAX_POOL, max(PRIORITIES, key=len))) <= MAX_QUEUE_NAME
