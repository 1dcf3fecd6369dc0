"""Messages of SQS as its mapping brings them, and which of them are to come again."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from htcgrid_core.cloud.lambda_function import LambdaContext
from htcgrid_core.domain.errors import GridError, InvalidInput

_log = logging.getLogger(__name__)

SPARE_SECONDS = 30.0  # that a message has at least, of a function's 120


@dataclass(frozen=True, slots=True)
class QueueMessage:
    """One message.

    Attributes:
        queue: ARN of its queue.
        group: of a FIFO queue, in which messages are done in order; empty for none.
    """

    id: str
    queue: str
    body: str
    group: str

    def json(self) -> Any:
        """What it says.

        Raises:
            InvalidInput: it is not JSON.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"message {self.id} is not JSON: {error}") from None


def messages_in(event: Mapping[str, Any]) -> list[QueueMessage]:
    """The messages of an event.

    Raises:
        InvalidInput: it is not one of an SQS mapping.
    """
    try:
        return [
            QueueMessage(
                str(record["messageId"]),
                str(record["eventSourceARN"]),
                str(record["body"]),
                str((record.get("attributes") or {}).get("MessageGroupId", "")) if _is_fifo(record) else "",
            )
            for record in event["Records"]
        ]
    except (LookupError, TypeError, AttributeError) as error:
        raise InvalidInput(f"this is no event of an SQS mapping: {type(error).__name__} {error}") from None


def _is_fifo(record: Mapping[str, Any]) -> bool:
    return str(record["eventSourceARN"]).endswith(".fifo")


def partial_batch(
    event: Mapping[str, Any], context: LambdaContext | None, act: Callable[[QueueMessage], object]
) -> dict[str, Any]:
    """Do what each message asks for; the answer (ReportBatchItemFailures) says which are to come again.

    Of a FIFO queue's group, none is done after one that failed. But for the first, none is begun so late that the
    function might be killed within it, since all of the batch would come again then.
    """
    failed, blocked = list[str](), set[str]()
    for at, message in enumerate(messages_in(event)):
        told = {"message_id": message.id, "queue": message.queue}
        if message.group and message.group in blocked:
            failed.append(message.id)
            continue
        if at and context is not None and context.get_remaining_time_in_millis() / 1000 < SPARE_SECONDS:
            _log.warning("a message comes again: no time is left to begin it", extra=told)
            failed.append(message.id)
            continue
        try:
            act(message)
        except GridError as error:
            _log.error("a message comes again: %s: %s", type(error).__name__, error, extra=told)
            failed.append(message.id)
            blocked.add(message.group)
    return {"batchItemFailures": [{"itemIdentifier": one} for one in failed]}
