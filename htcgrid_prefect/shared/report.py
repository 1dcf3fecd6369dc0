"""What a worker reports of a call, on its way to the flow's process."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Level = Literal["tasks", "terminal", "session"]
"""What Prefect's API is told: every state, the last one, or one task run for a whole map."""
STATE_EVENT = "prefect.task-run."
"""How the names of events begin that tell of a task run's state."""


class Report(NamedTuple):
    """What a call came to.

    Attributes:
        state: the final State, pickled.
        completed: whether it is Completed.
        events, logs: JSON objects for the API, in the order in which they were made.
        described: the same State, pickled, with a TaskFailed for its exception: for a flow that cannot load that.
        parts: what the call did in a transaction around it, pickled.
    """

    state: bytes
    completed: bool
    events: list[bytes]
    logs: list[bytes]
    described: bytes = b""
    parts: bytes = b""

    def __reduce__(self) -> tuple[Any, ...]:
        """Without what it does not say, which a flow of the release before does not know."""
        said = 6 if self.parts else 5 if self.described else 4
        return Report, tuple(self)[:said]


Report.__module__ = "htcgrid_prefect.recorder"  # in pickles: where flows of the release before have it
