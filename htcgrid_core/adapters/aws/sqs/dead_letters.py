"""The dead-letter queues of all pools."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from htcgrid_core.adapters.aws.errors import aws_errors
from htcgrid_core.adapters.aws.sqs import messages
from htcgrid_core.adapters.aws.sqs.acknowledgements import Receipt
from htcgrid_core.adapters.aws.sqs.batches import BATCH, Entry, send_all
from htcgrid_core.ports.dead_letters import DeadLetter

if TYPE_CHECKING:
    from htcgrid_core.adapters.aws.clients import Clients
    from htcgrid_core.adapters.aws.parameter import PoolQueues

HIDDEN_SECONDS = 60


class SqsDeadLetters:
    """Where SQS puts a message that was received too often."""

    def __init__(self, clients: Clients, queues: Mapping[str, PoolQueues]) -> None:
        self._clients = clients
        self._queues = queues

    def count(self, pool: str) -> int:
        """How many there are, approximately."""
        url = self._queues[pool].dead
        with aws_errors(f"SQS queue {url}"):
            answer = self._clients.sqs.get_queue_attributes(
                QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
            )
        return sum(int(number) for number in answer["Attributes"].values())

    def receive(self, limit: int) -> Sequence[DeadLetter]:
        """Some of any pool, hidden from others for a minute."""
        found: list[DeadLetter] = []
        for pool, queues in self._queues.items():
            if len(found) >= limit:
                break
            with aws_errors(f"SQS queue {queues.dead}"):
                answer = self._clients.sqs.receive_message(
                    QueueUrl=queues.dead,
                    MaxNumberOfMessages=min(BATCH, limit - len(found)),
                    WaitTimeSeconds=0,
                    VisibilityTimeout=HIDDEN_SECONDS,
                    MessageSystemAttributeNames=["SentTimestamp"],
                )
            found += [_letter(pool, queues.dead, message) for message in answer.get("Messages", ())]
        return found

    def redrive(self, letters: Sequence[DeadLetter]) -> None:
        """Send them where they were, then delete them here: in between there are two, which does no harm."""
        for letter in letters:
            if letter.hint is None:
                continue
            url = getattr(self._queues[letter.pool], letter.hint.priority)
            entry = {
                "MessageBody": messages.write(letter.hint, letter.redrives + 1),
                "MessageGroupId": messages.group(letter.hint),
            }
            self._send(self._clients.sqs.send_message_batch, url, [entry])
        self.delete([letter for letter in letters if letter.hint is not None])

    def put_back(self, letters: Sequence[DeadLetter]) -> None:
        """Hide them no longer."""
        self._send_receipts(self._clients.sqs.change_message_visibility_batch, letters, {"VisibilityTimeout": 0})

    def delete(self, letters: Sequence[DeadLetter]) -> None:
        """Delete them."""
        self._send_receipts(self._clients.sqs.delete_message_batch, letters, {})

    def _send_receipts(
        self, action: Callable[..., Any], letters: Sequence[DeadLetter], more: Mapping[str, Any]
    ) -> None:
        by_url: dict[str, list[Entry]] = {}
        for letter in letters:
            by_url.setdefault(letter.receipt.url, []).append({"ReceiptHandle": letter.receipt.handle, **more})
        for url, entries in by_url.items():
            self._send(action, url, entries)

    @staticmethod
    def _send(action: Callable[..., Any], url: str, entries: Sequence[Entry]) -> None:
        def call(batch: Sequence[Entry]) -> Mapping[str, Any]:
            with aws_errors(f"SQS queue {url}"):
                answer: Mapping[str, Any] = action(QueueUrl=url, Entries=batch)
            return answer

        send_all(call, entries, f"SQS queue {url}")


def _letter(pool: str, url: str, message: Mapping[str, Any]) -> DeadLetter:
    content = messages.read(message["Body"])
    sent_at = int(message.get("Attributes", {}).get("SentTimestamp", 0)) / 1000
    receipt = Receipt(url, message["ReceiptHandle"], time.monotonic() + HIDDEN_SECONDS)
    hint, redrives = (None, 0) if content is None else (content.hint, content.burials)
    return DeadLetter(pool, hint, redrives, message["Body"], sent_at, receipt)
