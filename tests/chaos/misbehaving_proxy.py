"""A proxy in front of an AWS emulator that does what AWS may do and no emulator does: ``python -m
tests.chaos.misbehaving_proxy PORT UPSTREAM SEED``.

Batches are carried out in part, or reported as failed although they were carried out; messages come twice, at once or
much later. Nothing else is touched: what is lost or refused altogether is for another proxy.
"""

from __future__ import annotations

import json
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.aws.proxy import Forwarder, Proxy

SHARE = 0.2  # of the calls that something is done to
PARTLY = {
    "BatchGetItem", "BatchWriteItem", "ChangeMessageVisibilityBatch", "DeleteMessageBatch", "SendMessageBatch",
}  # fmt: skip
REPLAYED = 10_000  # messages kept to be sent again

Json = dict[str, Any]
Change = Callable[[Json], None]


class Misbehaviour:
    """What is done to which call; used by all threads.

    Attributes:
        done: how often it did what.
        is_calm: nothing is done any more.
    """

    def __init__(self, seed: int) -> None:
        self.done: Counter[str] = Counter()
        self.is_calm = False
        self._rng = random.Random(seed)
        self._lock = threading.Lock()
        self._sent: list[tuple[str, Json]] = []  # queue's URL and entry of every message

    def plan(self, target: str, asked: Json) -> Change:
        """Take out of a call what is not carried out; what to do to its answer."""
        operation = target.rpartition(".")[2]
        with self._lock:
            if operation == "SendMessageBatch":
                self._remember(asked)
            if self.is_calm or self._rng.random() >= SHARE:
                return _nothing
            if operation not in PARTLY:
                return _nothing
            self.done[f"part of {operation}"] += 1
            return self._leave_some(operation, asked) if "RequestItems" in asked else self._fail_some(asked)

    def again(self, target: str) -> bool:
        """Whether received messages are to be received once more, at once."""
        with self._lock:
            is_chosen = target.endswith(".ReceiveMessage") and not self.is_calm and self._rng.random() < SHARE
            self.done.update(["delivered twice"] * is_chosen)
        return is_chosen

    def old(self, target: str) -> list[tuple[str, Json]]:
        """Messages of long ago, to be sent now."""
        with self._lock:
            if not target.endswith(".SendMessageBatch") or self.is_calm or self._rng.random() >= SHARE:
                return []
            self.done["replayed"] += 1
            return [self._rng.choice(self._sent)]

    def everything(self) -> list[tuple[str, Json]]:
        """Every message ever sent."""
        with self._lock:
            return list(self._sent)

    def _remember(self, asked: Json) -> None:
        for entry in asked["Entries"]:
            if len(self._sent) < REPLAYED:
                self._sent.append((asked["QueueUrl"], {**entry, "DelaySeconds": 0}))

    def _fail_some(self, asked: Json) -> Change:
        """Some entries fail; of those, some were carried out all the same."""
        failed = [entry for entry in asked["Entries"] if self._rng.random() < 0.5]
        asked["Entries"] = [e for e in asked["Entries"] if e not in failed or self._rng.random() < 0.3]
        ids = {entry["Id"] for entry in failed}

        def change(answer: Json) -> None:
            answer["Successful"] = [e for e in answer.get("Successful", ()) if e["Id"] not in ids]
            answer["Failed"] = [
                *(e for e in answer.get("Failed", ()) if e["Id"] not in ids),
                *(
                    {"Id": name, "Code": "InternalError", "SenderFault": False, "Message": "misbehaviour"}
                    for name in ids
                ),
            ]

        return change

    def _leave_some(self, operation: str, asked: Json) -> Change:
        """At least one item is done, as AWS says; of the others any."""
        ((table, request),) = asked["RequestItems"].items()
        rows = request["Keys"] if operation == "BatchGetItem" else request
        left = [row for row in rows[1:] if self._rng.random() < 0.5]
        done = [row for row in rows if row not in left]
        asked["RequestItems"] = {table: {**request, "Keys": done} if operation == "BatchGetItem" else done}

        def change(answer: Json) -> None:
            if left:
                name = "UnprocessedKeys" if operation == "BatchGetItem" else "UnprocessedItems"
                answer[name] = {table: {**request, "Keys": left} if operation == "BatchGetItem" else left}

        return change


def _nothing(answer: Json) -> None:
    """Leave an answer as it is."""


class Server(Proxy):
    """A proxy that does misbehaviour."""

    def __init__(self, port: int, upstream: str, misbehaviour: Misbehaviour) -> None:
        super().__init__(port, upstream, Handler)
        self.misbehaviour = misbehaviour


class Handler(Forwarder):
    """Does it to calls of DynamoDB and SQS."""

    server: Server

    def do_POST(self) -> None:
        body = self.body()
        if self.path.startswith("/_misbehaviour/"):
            self._control(self.path.rpartition("/")[2])
            return
        target = self.headers.get("X-Amz-Target", "")
        if not body or not target:
            self.answer(*self.ask(self.command, self.path, body))
            return
        asked = json.loads(body)
        change = self.server.misbehaviour.plan(target, asked)
        if asked.get("Entries") == []:  # nothing of it was carried out
            status, headers, answer = 200, {"Content-Type": "application/x-amz-json-1.0"}, b"{}"
        else:
            status, headers, answer = self.ask(self.command, self.path, json.dumps(asked).encode())
        if status == 200:
            told = json.loads(answer or b"{}")
            change(told)
            if told.get("Messages") and self.server.misbehaviour.again(target):
                self._deliver_again(asked["QueueUrl"], told["Messages"])
            for url, entry in self.server.misbehaviour.old(target):
                self._send(url, [entry])
            answer = json.dumps(told).encode()
        self.answer(status, headers, answer)

    def _control(self, action: str) -> None:
        misbehaviour = self.server.misbehaviour
        if action == "calm":
            misbehaviour.is_calm = True
        if action == "replay":
            for url, entry in misbehaviour.everything():
                self._send(url, [entry])
        told = {"done": misbehaviour.done, "sent": len(misbehaviour.everything())}
        self.answer(200, {"Content-Type": "application/json"}, json.dumps(told).encode())

    def _deliver_again(self, url: str, messages: list[Json]) -> None:
        for message in messages:
            asked = {"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0}
            self._call("AmazonSQS.ChangeMessageVisibility", asked)

    def _send(self, url: str, entries: list[Json]) -> None:
        self._call("AmazonSQS.SendMessageBatch", {"QueueUrl": url, "Entries": entries})

    def _call(self, target: str, asked: Json) -> None:
        """A call of our own, in the name of the account whose call this is or was."""
        self.ask("POST", "/", json.dumps(asked).encode(), {"X-Amz-Target": target})


if __name__ == "__main__":
    port, upstream, seed = sys.argv[1:]
    Server(int(port), upstream, Misbehaviour(int(seed))).serve_forever()
