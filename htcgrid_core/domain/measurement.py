"""The load of a grid."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measurement:
    """The load of a grid.

    Attributes:
        sessions: live sessions by state.
        pending: tasks of live sessions that have not ended.
        agents, slots, busy: agents alive, the tasks they can run at once, and those they do run.
    """

    sessions: dict[str, int]
    pending: int
    agents: int
    slots: int
    busy: int
