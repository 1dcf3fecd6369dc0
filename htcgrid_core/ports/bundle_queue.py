"""The bundle queue: hints that a bundle may be ready. They may be lost, doubled, late or out of order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from htcgrid_core.domain.session import Priority


@dataclass(frozen=True, slots=True)
class Hint:
    """That bundle ``bundle_id`` of session ``session_id`` may be ready from ``not_before`` (wall clock, s) on.

    ``priority`` is the session's, for queues that keep a line for each; those that rank bundles ignore it.
    ``generation`` is the session's, if it has one: where to look first. Such a hint may come before its session does.
    ``pool`` is where the bundle queues; empty for its session's.
    ``tasks`` is how many the bundle has, so that an agent that claims one knows whether it wants another; 0 if it does
    not say.
    """

    session_id: str
    bundle_id: str
    not_before: float = 0.0
    priority: Priority = "normal"
    generation: str = field(default="", compare=False)
    pool: str = field(default="", compare=False)
    tasks: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Message:
    """A hint as received, with what the queue needs to delete it; None for one that came from the store.

    ``ready_at`` is when agents could first have it (wall clock, s), where the queue knows.
    """

    hint: Hint
    receipt: Any = None
    ready_at: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Received:
    """What a receive returned.

    Attributes:
        wake_at: wall-clock time (s) at which the queue knows of more; None if it knows of none.
        is_all: whether nothing else is ready now: asking again before ``wake_at``, or a ring, would find nothing.
    """

    messages: Sequence[Message]
    wake_at: float | None = None
    is_all: bool = False


class BundleQueue(Protocol):
    """At-least-once delivery of hints to the agents of a pool."""

    def send(self, pool: str, hints: Sequence[Hint]) -> None:
        """Make hints visible to the pool's agents, each from its ``not_before`` on."""

    def receive(self, pool: str, limit: int, now: float) -> Received:
        """Up to ``limit`` messages, without waiting."""

    def front(self, pool: str) -> float:
        """The rank that is being served: where a new session begins. 0 for a queue that keeps no order."""

    def sharers(self, pool: str, tenant: str) -> int:
        """Live sessions of a tenant, which get one share together; 0 for a queue that keeps no order."""

    def may_have_lost(self, pool: str) -> bool:
        """Whether what was sent and has not come may be lost: as far as is known, nothing waits there."""

    def delete(self, messages: Sequence[Message]) -> None:
        """These messages need not be delivered again."""

    def extend(self, messages: Sequence[Message], seconds: float) -> None:
        """Keep these messages from being delivered again for ``seconds``; 0 delivers them again at once."""
