"""The bundle queue of a Lambda function: the messages that it was invoked with, and no others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from htcgrid_core.adapters.aws.sqs import messages
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.ports.bundle_queue import BundleQueue, Hint, Message, Received


@dataclass(frozen=True, slots=True)
class Given:
    """A message of the event that SQS's mapping made.

    Attributes:
        id: by which it is reported as not done.
        handle: by which it is hidden from others.
        queue: its queue's name.
    """

    id: str
    handle: str
    queue: str
    content: messages.Content | None

    @property
    def hint(self) -> Hint | None:
        """What it says; None for a bell, and for what none of us wrote."""
        return None if self.content is None else self.content.hint


def given_in(event: Mapping[str, Any]) -> list[Given]:
    """The messages of an event.

    Raises:
        InvalidInput: it is not one of an SQS mapping.
    """
    try:
        return [
            Given(
                str(record["messageId"]),
                str(record["receiptHandle"]),
                str(record["eventSourceARN"]).rpartition(":")[2],
                messages.read(str(record["body"])),
            )
            for record in event["Records"]
        ]
    except (KeyError, TypeError) as error:
        raise InvalidInput(f"this is no event of a queue's mapping: {type(error).__name__}: {error}") from error


class GivenMessages:
    """A BundleQueue whose receive gives what the function was given; everything is sent by ``beneath``.

    Args:
        ring: wakes the agent: nothing is left.
    """

    def __init__(self, beneath: BundleQueue, ring: Callable[[], None]) -> None:
        self._beneath = beneath
        self._ring = ring
        self._waiting: deque[Message] = deque()
        self._undone: dict[str, float] = {}  # by id: for how long others should not see it

    def give(self, given: Sequence[Given], now: float, hidden_seconds: float) -> None:
        """Take the messages of an invocation; one that came before its time is left alone.

        Args:
            now: wall clock, seconds.
            hidden_seconds: for how long what is not dealt with is hidden from others: a lease.
        """
        self._waiting.clear()
        self._undone.clear()
        for one in given:
            hint = one.hint
            if hint is None:
                continue  # it is deleted
            self._undone[one.id] = max(0.0, hint.not_before - now) or hidden_seconds
            if hint.not_before <= now:
                self._waiting.append(Message(hint, one))

    @property
    def is_empty(self) -> bool:
        """Whether every message was looked at."""
        return not self._waiting

    def undone(self, unseen_seconds: float) -> dict[str, float]:
        """What comes again: ids, and for how long it should be hidden.

        Args:
            unseen_seconds: for what nobody has looked at.
        """
        unseen = {message.receipt.id for message in self._waiting}
        return {one: unseen_seconds if one in unseen else seconds for one, seconds in self._undone.items()}

    # The port

    def send(self, pool: str, hints: Sequence[Hint]) -> None:
        """See the port."""
        self._beneath.send(pool, hints)

    def receive(self, pool: str, limit: int, now: float) -> Received:
        """What was given and not taken yet."""
        taken = [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]
        return Received(taken, is_all=not self._waiting)

    def front(self, pool: str) -> float:
        """See the port."""
        return self._beneath.front(pool)

    def sharers(self, pool: str, tenant: str) -> int:
        """See the port."""
        return self._beneath.sharers(pool, tenant)

    def may_have_lost(self, pool: str) -> bool:
        """See the port."""
        return self._beneath.may_have_lost(pool)

    def delete(self, received: Sequence[Message]) -> None:
        """They are not reported as undone, so that the mapping deletes them."""
        for message in received:
            if message.receipt is not None:
                self._undone.pop(message.receipt.id, None)
        self._ring()

    def extend(self, received: Sequence[Message], seconds: float) -> None:
        """With 0, they are this function's to look at again: it was given them."""
        mine = [message for message in received if message.receipt is not None]
        if not seconds:
            self._waiting.extendleft(reversed(mine))
            return
        for message in mine:
            if message.receipt.id in self._undone:
                self._undone[message.receipt.id] = seconds
