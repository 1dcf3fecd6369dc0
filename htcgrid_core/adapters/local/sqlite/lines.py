"""Where bundles queue on SQLite: in a line for each pool, and for each version of agents that may run them.

An agent looks into the lines of its own version and of all before it. So it never sees a bundle of a session that asks
for a newer one, whatever its release: also those releases that do not know that a session may ask.
"""

from __future__ import annotations

from functools import lru_cache

from htcgrid_core.domain import agent_version
from htcgrid_core.domain.agent_version import FIRST_AGENT_VERSION, min_agent_version
from htcgrid_core.domain.session import SessionRecord


def line_of(record: SessionRecord) -> str:
    """Where a session's bundles queue."""
    return _line(record.pool, min_agent_version(record.spec))


def line_in(pool: str, line: str) -> str:
    """Where a bundle queues that was moved to a pool, from a line of another."""
    return pool + "".join(line.partition("@")[1:])


def pool_of(line: str) -> str:
    """Whose agents look into a line."""
    return line.partition("@")[0]


def lines_of(pool: str) -> tuple[str, ...]:
    """Where agents of this release look for work."""
    return _lines(pool, agent_version.AGENT_VERSION)


@lru_cache(maxsize=64)
def _lines(pool: str, newest: int) -> tuple[str, ...]:
    return tuple(_line(pool, version) for version in range(FIRST_AGENT_VERSION, newest + 1))


def _line(pool: str, version: int) -> str:
    return pool if version == FIRST_AGENT_VERSION else f"{pool}@{version}"
