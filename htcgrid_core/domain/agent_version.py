"""Which agents may run a session: a field that an agent must obey raises the version that its session asks for."""

from __future__ import annotations

from functools import lru_cache

import orjson

FIRST_AGENT_VERSION = 1
SIGNING_KEYS_AGENT_VERSION = 2  # verifies what later keys than the grid's first have signed
ISOLATION_AGENT_VERSION = 3  # begins a new worker for each session or task that asks for one
FUNCTION_OPTIONS_AGENT_VERSION = 4  # runs deployed functions as their options of this release say
MOVING_AGENT_VERSION = 5  # moves tasks that ran out of memory to the pool that their session names
SCHEMAS_AGENT_VERSION = 6  # checks events and results by the schemas that their function was deployed with
LONG_RETENTION_AGENT_VERSION = 6  # reads sessions that are kept for over 60 days
STAGED_PATHS_AGENT_VERSION = 6  # has staged files and folders as paths of its machine
AGENT_VERSION = 6
"""What the agents of this release obey.

Whoever adds a field to a session's spec that changes how its tasks are run raises it, and has specs that use the field
ask for it (``min_agent_version``). What an agent may as well not know of needs no new version.
"""

_SPECS_CACHED = 1024


@lru_cache(_SPECS_CACHED)
def min_agent_version(stored: str | bytes) -> int:
    """The lowest version of an agent that obeys what is stored, a session's spec for instance, as JSON.

    It is read apart from all else, since the rest may be in words that only such an agent knows.
    """
    try:
        found = orjson.loads(stored)
    except orjson.JSONDecodeError:  # whoever reads the rest says what is wrong with it
        return FIRST_AGENT_VERSION
    version = found.get("min_agent_version") if isinstance(found, dict) else None
    return version if isinstance(version, int) else FIRST_AGENT_VERSION


def is_for_newer_agents(stored: str | bytes) -> bool:
    """Whether agents and clients of this release must leave what is stored to newer ones."""
    return min_agent_version(stored) > AGENT_VERSION
