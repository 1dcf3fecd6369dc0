"""Acknowledgements of messages, for which no agent waits: deletes and visibility times, ten in a call of a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from htcgrid_core.adapters.aws.errors import aws_errors
from htcgrid_core.adapters.aws.sqs import messages
from htcgrid_core.adapters.aws.sqs.batches import BATCH
from htcgrid_core.domain.errors import GridError

if TYPE_CHECKING:
    from htcgrid_core.adapters.aws.clients import Clients

LINGER_SECONDS = 0.5  # a delete waits this long for nine others; its message is hidden for much longer
TRIES = 3
CLOSE_SECONDS = 10.0  # to send what is left at the end


@dataclass(slots=True)
class Receipt:
    """Where a received message is, and until when it is hidden there (monotonic time, s).

    Attributes:
        bell_url: the queue that idle agents wait at, if that is another one.
    """

    url: str
    handle: str
    hidden_until: float
    bell_url: str = ""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What a queue is told of a message, or a bell for who waits there.

    Attributes:
        due_at: monotonic time by which it should be sent.
        seconds: for how long to hide a message, from when this is sent.
    """

    action: Literal["delete", "hide", "bell"]
    url: str
    due_at: float
    handle: str = ""
    seconds: int = 0
    tries: int = 0


class Acknowledgements:
    """Sends acknowledgements in batches.

    One that fails for good is dropped: a message that is not deleted or hidden comes once more, and whoever
    receives it finds its bundle done or leased. So old receipt handles, which AWS may accept or refuse, need no care.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._changed = threading.Condition()
        self._waiting: list[Acknowledgement] = []
        self._thread: threading.Thread | None = None
        self._is_closing = False
        self.dropped = 0

    def delete(self, receipts: Sequence[Receipt]) -> None:
        """Delete messages, soon."""
        due_at = time.monotonic() + LINGER_SECONDS
        self._add([Acknowledgement("delete", receipt.url, due_at, receipt.handle) for receipt in receipts])

    def hide(self, receipts: Sequence[Receipt], seconds: int) -> None:
        """Keep messages from being delivered for ``seconds`` from now."""
        now = time.monotonic()
        self._add([Acknowledgement("hide", receipt.url, now, receipt.handle, seconds) for receipt in receipts])

    def hand_back(self, receipts: Sequence[Receipt]) -> None:
        """Have messages delivered at once, and ring whoever waits elsewhere."""
        self.hide(receipts, 0)
        now = time.monotonic()
        self._add([Acknowledgement("bell", receipt.bell_url, now) for receipt in receipts if receipt.bell_url])

    def _add(self, acknowledgements: Sequence[Acknowledgement]) -> None:
        if not acknowledgements:
            return
        with self._changed:
            self._waiting += acknowledgements
            if self._thread is None:
                self._is_closing = False
                self._thread = threading.Thread(target=self._run, name="htcgrid-acknowledgements", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Send what is left, and end the thread."""
        with self._changed:
            thread, self._is_closing = self._thread, True
            self._changed.notify()
        if thread is not None:
            thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            if batch:
                self._send(batch)

    def _next_batch(self) -> list[Acknowledgement] | None:
        """Acknowledgements of one kind for one queue; empty to look again, None at the end."""
        with self._changed:
            if not self._waiting and self._is_closing:
                self._thread = None
                return None
            kinds: dict[tuple[str, str], list[Acknowledgement]] = {}
            for one in self._waiting:
                kinds.setdefault((one.action, one.url), []).append(one)
            now = time.monotonic()
            for found in kinds.values():
                if len(found) >= BATCH or found[0].due_at <= now or self._is_closing:
                    batch = found[:BATCH]
                    taken = set(map(id, batch))
                    self._waiting = [one for one in self._waiting if id(one) not in taken]
                    return batch
            self._changed.wait(min((one.due_at for one in self._waiting), default=now + 60.0) - now)
            return []

    def _send(self, batch: list[Acknowledgement]) -> None:
        try:
            with aws_errors(f"SQS queue {batch[0].url}"):
                failed = self._call(batch).get("Failed", ())
        except GridError:
            failed = [{"Id": str(number), "SenderFault": False} for number in range(len(batch))]
        for entry in failed:
            acknowledgement = batch[int(entry["Id"])]
            if entry.get("SenderFault") or acknowledgement.tries + 1 == TRIES:
                self.dropped += 1
                continue
            due_at = time.monotonic() + LINGER_SECONDS * 2.0**acknowledgement.tries
            with self._changed:
                self._waiting.append(replace(acknowledgement, due_at=due_at, tries=acknowledgement.tries + 1))

    def _call(self, batch: list[Acknowledgement]) -> Mapping[str, Any]:
        sqs, url, action = self._clients.sqs, batch[0].url, batch[0].action
        entries: list[Any] = [{"Id": str(number)} for number in range(len(batch))]
        for entry, acknowledgement in zip(entries, batch, strict=True):
            if action == "bell":
                entry["MessageBody"] = messages.BELL
                continue
            entry["ReceiptHandle"] = acknowledgement.handle
            if action == "hide":
                entry["VisibilityTimeout"] = acknowledgement.seconds
        if action == "bell":
            return sqs.send_message_batch(QueueUrl=url, Entries=entries)
        if action == "hide":
            return sqs.change_message_visibility_batch(QueueUrl=url, Entries=entries)
        return sqs.delete_message_batch(QueueUrl=url, Entries=entries)
