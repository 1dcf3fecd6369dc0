"""The invocation that runs in a native worker of a deployed function."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from htcgrid_core.agent.workers.context import Context


class Invocation:
    """The invocation that runs, or ran last: one for the whole process, as in Lambda's runtime.

    Attributes:
        context: its context; None before the first.
    """

    context: Context | None = None


RUNNING = Invocation()
