"""A pool's queues and a function that runs their bundles, with this test in the place of AWS's mapping."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from htcgrid_core.adapters.aws.parameter import PoolQueues
from htcgrid_core.cloud.function_agent import FunctionAgent, Times
from htcgrid_core.cloud.given_messages import given_in
from htcgrid_core.cloud.plane import CloudPlane
from htcgrid_core.domain.session import DEFAULT_TENANT
from tests.aws.emulators import REGION, Account

PRIORITIES = ("high", "normal", "low")


@dataclass
class Context:
    """An invocation's time."""

    seconds: float
    _began: float = field(default_factory=time.monotonic)

    def get_remaining_time_in_millis(self) -> int:
        """Until it is killed."""
        return int((self._began + self.seconds - time.monotonic()) * 1000)


@dataclass
class Mapping:
    """What AWS does: receives, invokes, and deletes what was not reported.

    Attributes:
        seconds: of the function.
        answers: how many messages each invocation was given, and how many came back.
        took: seconds of each invocation.
    """

    account: Account
    queues: PoolQueues
    agent: FunctionAgent
    seconds: float
    batch: int = 1
    answers: list[tuple[int, int]] = field(default_factory=list)
    took: list[float] = field(default_factory=list)

    def once(self) -> bool:
        """One invocation of each queue that has messages; whether there was any."""
        return sum(self._invoke(getattr(self.queues, priority)) for priority in PRIORITIES) > 0

    def _invoke(self, url: str) -> bool:
        sqs = self.account.sqs()
        asked: Any = {"MaxNumberOfMessages": self.batch, "VisibilityTimeout": 60, "WaitTimeSeconds": 0}
        found: Any = sqs.receive_message(QueueUrl=url, **asked)
        messages = found.get("Messages", [])
        if not messages:
            return False
        event, context = event_of(self.account, url, messages), Context(self.seconds)
        began = time.monotonic()
        undone = self.agent.run(given_in(event), context)
        self.took.append(time.monotonic() - began)
        for message in messages:
            if message["MessageId"] not in undone:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        self.answers.append((len(messages), len(undone)))
        return True


def event_of(account: Account, url: str, messages: list[Any]) -> dict[str, Any]:
    """The event of a mapping, as AWS documents it."""
    arn = f"arn:aws:sqs:{REGION}:{account.id}:{url.rpartition('/')[2]}"
    return {
        "Records": [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1523232000000"},
                "messageAttributes": {},
                "md5OfBody": message.get("MD5OfBody", ""),
                "eventSource": "aws:sqs",
                "eventSourceARN": arn,
                "awsRegion": REGION,
            }
            for message in messages
        ]
    }


def mapping_of(
    account: Account, cloud: CloudPlane, *, seconds: float = 60.0, batch: int = 1, tenant: str = DEFAULT_TENANT
) -> Mapping:
    """A function of two slots on a grid's default pool."""
    agent = FunctionAgent(cloud, "default", tenant, 2, Times.of(seconds))
    return Mapping(account, cloud.parameter.queues["default"], agent, seconds, batch)
