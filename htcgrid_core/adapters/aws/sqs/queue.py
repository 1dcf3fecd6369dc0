"""The bundle queue on SQS: three standard queues a pool, one for each priority, and one for their dead letters."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

from htcgrid_core.adapters.aws.errors import aws_errors
from htcgrid_core.adapters.aws.sqs import messages
from htcgrid_core.adapters.aws.sqs.acknowledgements import Acknowledgements, Receipt
from htcgrid_core.adapters.aws.sqs.batches import BATCH, Entry, send_all
from htcgrid_core.adapters.aws.sqs.priority_polling import WAITED_AT
from htcgrid_core.adapters.aws.sqs.receiver import MAX_HIDDEN_SECONDS, Receiver
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GridUnavailable, UnknownGrid
from htcgrid_core.domain.metrics import QUEUE_MESSAGES
from htcgrid_core.ports.bundle_queue import Hint, Message, Received

if TYPE_CHECKING:
    from mypy_boto3_sqs.literals import QueueAttributeNameType

    from htcgrid_core.adapters.aws.clients import Clients
    from htcgrid_core.adapters.aws.parameter import PoolQueues

_COUNTS: dict[QueueAttributeNameType, str] = {
    "ApproximateNumberOfMessages": "waiting",
    "ApproximateNumberOfMessagesNotVisible": "hidden",
    "ApproximateNumberOfMessagesDelayed": "delayed",
}
MAX_DELAY_SECONDS = 900  # SQS's longest; a message that comes before its time is hidden again


class SqsQueue:
    """Hints as messages. Threads are started by the first receive or delete; a process that only sends has none."""

    def __init__(
        self,
        clients: Clients,
        queues: Mapping[str, PoolQueues],
        *,
        ring: Callable[[], None] = lambda: None,
        hidden_seconds: float = limits.LEASE_SECONDS,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Queues by pool.

        Args:
            ring: wakes the agent of this process: messages have come.
            hidden_seconds: for how long a received message is hidden from others: a lease.
            wall: this process's wall clock (s since the epoch), by which messages are delayed.
        """
        self._clients = clients
        self._queues = dict(queues)
        self._ring = ring
        self._wall = wall
        self._hidden_seconds = max(1, ceil(hidden_seconds))
        self._acknowledgements = Acknowledgements(clients)
        self._rung: set[str] = set()  # pools to which this process could send
        self._lock = threading.Lock()
        self._receivers: dict[str, Receiver] = {}

    def send(self, pool: str, hints: Sequence[Hint]) -> None:
        """Make hints visible to the pool's agents, each from its ``not_before`` on.

        Raises:
            GridUnavailable: not all were accepted; sending all of them again does no harm.
        """
        queues, now = self._of(pool), self._wall()
        by_priority: dict[str, list[Hint]] = {}
        for hint in hints:
            by_priority.setdefault(hint.priority, []).append(hint)
        for priority, same in by_priority.items():
            self._send(getattr(queues, priority), [_entry(hint, now) for hint in same])
            if priority != WAITED_AT:
                self._ring_bells(queues, [_delay(hint, now) for hint in same])

    def _send(self, url: str, entries: Sequence[Entry]) -> None:
        def call(batch: Sequence[Any]) -> Mapping[str, Any]:
            with aws_errors(f"SQS queue {url}"):
                return self._clients.sqs.send_message_batch(QueueUrl=url, Entries=batch)

        send_all(call, entries, f"SQS queue {url}")

    def _ring_bells(self, queues: PoolQueues, delays: Sequence[int]) -> None:
        """Tell agents that wait at the one queue that there is something in another: up to ten, in one call."""
        entries = [{"MessageBody": messages.BELL, "DelaySeconds": delay} for delay in sorted(delays)[:BATCH]]
        self._send(getattr(queues, WAITED_AT), entries)

    def may_have_lost(self, pool: str) -> bool:
        """Whether no message waits in any of the three queues; SQS counts approximately, up to a minute late.

        What waits where idle agents do not look may have lost its bell: they are told again. Else a message that nobody
        sends again, since its bundle is done, would wait for ever, and all that was really lost with it.
        """
        depth = self.depth(pool)
        waiting = [queue for (queue, state), count in depth.items() if count and state == "waiting" and queue != "dead"]
        if set(waiting) - {WAITED_AT}:
            self._ring_bells(self._of(pool), [0])
        return not waiting

    def receive(self, pool: str, limit: int, now: float) -> Received:
        """Up to ``limit`` messages that have come, without waiting; if there are none, they are fetched."""
        return self._receiver(pool).take(limit, now)

    def _receiver(self, pool: str) -> Receiver:
        with self._lock:
            if pool not in self._receivers:
                self._receivers[pool] = Receiver(
                    self._clients,
                    self._acknowledgements,
                    self._of(pool),
                    hidden_seconds=self._hidden_seconds,
                    ring=self._ring,
                    wall=self._wall,
                )
            return self._receivers[pool]

    def depth(self, pool: str) -> dict[tuple[str, str], int]:
        """How many messages there are in a pool's queues, by queue and state; a call each.

        Raises:
            GridUnavailable: SQS does not say.
        """
        queues, found = self._of(pool), {}
        for queue in QUEUE_MESSAGES.labels["queue"]:
            url = getattr(queues, queue)
            with aws_errors(f"SQS queue {url}"):
                answer = self._clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(_COUNTS))
            for name, state in _COUNTS.items():
                found[queue, state] = int(answer.get("Attributes", {}).get(name, 0))
        return found

    def front(self, pool: str) -> float:
        """SQS keeps no order. The first time, agents are told to look: whoever may not send learns it here.

        What only fails for now is no reason not to submit: the reconciler sends what was not sent.

        Raises:
            AccessDenied, UnknownGrid: nothing can be sent to the pool.
        """
        if pool not in self._rung:
            with contextlib.suppress(GridUnavailable):
                self._ring_bells(self._of(pool), [0])
                self._rung.add(pool)
        return 0.0

    def sharers(self, pool: str, tenant: str) -> int:
        """SQS itself is fair between tenants."""
        return 0

    def delete(self, received: Sequence[Message]) -> None:
        """Delete messages soon, in the background."""
        self._acknowledgements.delete(_receipts(received))

    def extend(self, received: Sequence[Message], seconds: float) -> None:
        """Keep messages hidden for ``seconds``, in the background; 0 hands them back to others.

        What stays hidden for half that time anyway is left for the next call.
        """
        if not seconds:
            for receiver in list(self._receivers.values()):
                receiver.too_many()
            self._acknowledgements.hand_back(_receipts(received))
            return
        now = time.monotonic()
        short: list[Receipt] = [kept for kept in _receipts(received) if kept.hidden_until - now < seconds / 2]
        for receipt in short:
            receipt.hidden_until = now + seconds
        self._acknowledgements.hide(short, min(MAX_HIDDEN_SECONDS, ceil(seconds)))

    def close(self) -> None:
        """Hand back what was not taken, and send what is to be sent."""
        for receiver in list(self._receivers.values()):
            receiver.close()
        self._acknowledgements.close()

    def _of(self, pool: str) -> PoolQueues:
        try:
            return self._queues[pool]
        except KeyError:
            raise UnknownGrid(f"this grid has no pool {pool!r}; it has {', '.join(sorted(self._queues))}") from None


def _delay(hint: Hint, now: float) -> int:
    """Whole seconds, rounded down: whoever receives it early keeps it until its time."""
    return max(0, min(MAX_DELAY_SECONDS, int(hint.not_before - now)))


def _entry(hint: Hint, now: float) -> Entry:
    return {
        "MessageBody": messages.write(hint),
        "DelaySeconds": _delay(hint, now),
        "MessageGroupId": messages.group(hint),
    }


def _receipts(messages: Sequence[Message]) -> list[Receipt]:
    """Without those of hints that came from no queue."""
    return [message.receipt for message in messages if message.receipt is not None]
