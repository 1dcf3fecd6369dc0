"""Where bundles queue on SQLite: in a line for each pool, and for each version of agents that may run them.

An agent looks into the lines of its own version and of all before it. So it never sees a bundle of a session that asks
for a newer one, whatever its release: also those releases that do not know that a session may ask.
"""

from __future__ import annotations

from htcgrid_core.domain import agent_version
from htcgrid_core.domain.agent_version import FIRST_AGENT_VERSION, min_agent_version
from htcgrid_core.domain.session import SessionRecord


def line_of(record: SessionRecord) -> str:
    """Where a session's bundles queue."""
    return _line(record.pool, min_agent_version(record.spec))


def lines_of(pool: str) -> list[str]:
    """Where agents of this release look for work."""
    return [_line(pool, version) for version in range(FIRST_AGENT_VERSION, agent_version.AGENT_VERSION + 1)]


def _line(pool: str, version: int) -> str:
    return pool if version == FIRST_AGENT_VERSION else f"{pool}@{version}"
