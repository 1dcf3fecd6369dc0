"""The thread that waits at a pool's queues, so that the agent's loop never does."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from htcgrid_core.adapters.aws.errors import aws_errors
from htcgrid_core.adapters.aws.sqs import messages
from htcgrid_core.adapters.aws.sqs.acknowledgements import Receipt
from htcgrid_core.adapters.aws.sqs.batches import BATCH
from htcgrid_core.adapters.aws.sqs.priority_polling import WAITED_AT, PriorityPolling
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GridError
from htcgrid_core.domain.session import Priority
from htcgrid_core.ports.bundle_queue import Hint, Message, Received

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef

    from htcgrid_core.adapters.aws.clients import Clients
    from htcgrid_core.adapters.aws.parameter import PoolQueues
    from htcgrid_core.adapters.aws.sqs.acknowledgements import Acknowledgements

_log = logging.getLogger(__name__)

LONG_POLL_SECONDS = 20  # SQS's longest; an idle agent costs one call in this time
MAX_HIDDEN_SECONDS = 12 * 3600  # SQS's longest
WANTED_SECONDS = 2.5 * limits.AGENT_POLL_SECONDS  # an agent that wants work asks at least this often
HELD_SECONDS = limits.TIME_SLICE_SECONDS + 0.5  # what the agent did not take by then goes to others; longer than a
# slice, so that a lone agent that looks once a slice whether another session waits sees that it does
EARLY_SECONDS = 2.0  # a message that comes this long before its time is kept for it: SQS delays by whole seconds
QUICK_SECONDS = 0.25  # an agent that asks again so soon after it took all gets twice as many
FIRST = 2  # messages at a time: a session is cut into two bundles for each agent
EAGER = 4  # messages at a time, from which on the next ones are fetched before they are asked for
BACKOFF_SECONDS = 0.5
BACKOFF_CAP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Held:
    """A message that the agent has not taken yet, and until when (monotonic time, s) it is kept for it."""

    message: Message
    until: float


class Receiver:
    """Receives for one pool when its agent wants work, and rings the agent when something came.

    It fetches two messages at first, an agent's part of a session, twice as many each time the agent took all of them
    and asked again at once, and one when something was left over, until that was too few: an agent is to hide no more
    than it is about to run.
    """

    def __init__(
        self,
        clients: Clients,
        acknowledgements: Acknowledgements,
        queues: PoolQueues,
        *,
        hidden_seconds: int,
        ring: Callable[[], None],
        wall: Callable[[], float],
    ) -> None:
        self._clients = clients
        self._acknowledgements = acknowledgements
        self._queues = queues
        self._hidden_seconds = hidden_seconds
        self._ring = ring
        self._wall = wall
        self._polling = PriorityPolling()
        self._changed = threading.Condition()
        self._held: deque[Held] = deque()
        self._appetite = self._first = FIRST
        self._wanted_at = self._taken_at = float("-inf")
        self._is_short = False  # the agent asked and got nothing
        self._failure: Exception | None = None
        self._failures = 0
        self._is_closed = False
        self._thread: threading.Thread | None = None

    # For the agent's thread

    def take(self, limit: int, now: float) -> Received:
        """What is here and due at wall-clock time ``now``; asks for more if there is nothing."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="htcgrid-receiver", daemon=True)
                self._thread.start()
            failure, self._failure = self._failure, None
            if failure is not None:
                raise failure
            self._wanted_at = time.monotonic()
            is_quick = self._wanted_at - self._taken_at < QUICK_SECONDS
            taken = [held for held in self._held if held.message.hint.not_before <= now][:limit]
            self._held = deque(held for held in self._held if held not in taken)
            if taken:
                self._taken_at = self._wanted_at
            elif not self._is_short:
                self._first = FIRST if is_quick else self._first
                self._appetite = min(BATCH, 2 * self._appetite) if is_quick else self._first
            self._is_short = not taken
            self._changed.notify()
            wake_at = min((held.message.hint.not_before for held in self._held), default=None)
        return Received([held.message for held in taken], wake_at if not taken else None)

    def too_many(self) -> None:
        """The agent gave some back."""
        with self._changed:
            self._appetite = self._first = 1

    def close(self) -> None:
        """Hand back what the agent did not take. A poll that is under way ends by itself."""
        with self._changed:
            self._is_closed = True
            left = [held.message for held in self._held]
            self._held.clear()
            self._changed.notify()
        self._acknowledgements.hand_back([message.receipt for message in left])

    # The thread

    def _run(self) -> None:
        while self._wait_until_wanted():
            try:
                with aws_errors("SQS"):
                    self._fetch()
                self._failures = 0
            except GridError as error:
                with self._changed:
                    self._failure = error
                    self._failures += 1
                    pause = min(BACKOFF_CAP_SECONDS, BACKOFF_SECONDS * 2.0 ** min(self._failures, 10))
                    self._ring()
                    self._changed.wait(random.SystemRandom().uniform(pause / 2, pause))
            except Exception as error:  # noqa: BLE001 - whatever it is, the agent must hear of it, or it waits for ever
                with self._changed:
                    self._failure = error
                    self._thread = None
                self._ring()
                return

    def _wait_until_wanted(self) -> bool:
        """Wait until there is something to fetch for the agent; False at the end."""
        with self._changed:
            while not self._is_closed:
                now = time.monotonic()
                self._give_up_old(now)
                if self._is_wanted(now):
                    return True
                oldest = min((held.until for held in self._held), default=now + 60.0)
                self._changed.wait(oldest - now)
            self._thread = None
            return False

    def _is_wanted(self, now: float) -> bool:
        if now - self._wanted_at > WANTED_SECONDS:
            return False
        is_eager = self._appetite >= EAGER and now - self._taken_at < QUICK_SECONDS
        has_some = any(held.message.hint.not_before <= self._wall() for held in self._held)
        return (self._is_short or is_eager) and not has_some

    def _give_up_old(self, now: float) -> None:
        old = [held for held in self._held if held.until <= now]
        if old:
            self._held = deque(held for held in self._held if held.until > now)
            self._appetite = self._first = 1
            self._is_short = False
            self._acknowledgements.hand_back([held.message.receipt for held in old])

    def _fetch(self) -> None:
        """Ask one queue after the other; the last of them until something comes or the time is over."""
        while not self._is_closed:
            priority, wait = self._polling.next(time.monotonic())
            came, is_empty = self._receive(priority, wait)
            if came:
                self._polling.found(priority, time.monotonic())
                self._keep(came)
                return
            if is_empty:
                self._polling.empty(priority, wait)
                if wait:
                    return

    def _keep(self, came: list[Message]) -> None:
        now, wall = time.monotonic(), self._wall()
        with self._changed:
            self._is_short = False
            for message in came:
                early = max(0.0, message.hint.not_before - wall)
                self._held.append(Held(message, now + early + HELD_SECONDS))
            is_closed = self._is_closed
        if is_closed:
            self.close()
        else:
            self._ring()

    def _receive(self, priority: Priority, wait: bool) -> tuple[list[Message], bool]:
        """What one queue gives to the agent, and whether there was nothing at all in it, not even a bell."""
        url = str(getattr(self._queues, priority))
        bell_url = "" if priority == WAITED_AT else self._queues.normal
        hidden_until = time.monotonic() + self._hidden_seconds
        answer = self._clients.sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=self._appetite,
            WaitTimeSeconds=LONG_POLL_SECONDS if wait else 0,
            VisibilityTimeout=self._hidden_seconds,
            MessageSystemAttributeNames=["SentTimestamp"],
        )
        came: list[Message] = []
        found = answer.get("Messages", ())
        for message in found:
            receipt = Receipt(url, message["ReceiptHandle"], hidden_until, bell_url)
            content = messages.read(message["Body"])
            if content is None or content.hint is None:
                self._acknowledgements.delete([receipt])
                if content is not None:
                    self._polling.all(time.monotonic())  # a bell: there may be something in another queue
                continue
            early = content.hint.not_before - self._wall()
            if early > EARLY_SECONDS:  # SQS delays by 15 minutes at most
                self._acknowledgements.hide([receipt], min(MAX_HIDDEN_SECONDS, int(early)))
            else:
                came.append(Message(content.hint, receipt, _ready_at(message, content.hint)))
        return came, not found


def _ready_at(message: MessageTypeDef, hint: Hint) -> float | None:
    """By the clocks of SQS and of whoever sent it, which may differ a little; None if the queue does not tell."""
    sent_ms = message.get("Attributes", {}).get("SentTimestamp")
    return None if sent_ms is None else max(int(sent_ms) / 1000, hint.not_before)
