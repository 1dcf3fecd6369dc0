"""S6: AWS may do any part of a batch of ten. Each of the 1,024 patterns, for every call that takes a batch."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from botocore.exceptions import ClientError

from htcgrid_core.adapters.aws.dynamodb.attribute_values import attributes
from htcgrid_core.adapters.aws.dynamodb.schema import PARTITION, SORT
from htcgrid_core.adapters.aws.dynamodb.table import Table
from htcgrid_core.adapters.aws.errors import grid_error
from htcgrid_core.adapters.aws.sqs.acknowledgements import Acknowledgements, Receipt
from htcgrid_core.adapters.aws.sqs.batches import BATCH, Entry, send_all
from htcgrid_core.domain.errors import GridError, GridUnavailable

TABLE = "htcgrid-test"
PATTERNS = list(itertools.product((False, True), repeat=BATCH))  # which of ten are refused


class Part:
    """A service that refuses a pattern of the first batch it is given, and does all that comes after.

    Attributes:
        did: how often each entry was carried out.
    """

    def __init__(self, refused: Sequence[bool]) -> None:
        self.did: Counter[str] = Counter()
        self._refused = list(refused)

    def split(self, names: Sequence[str]) -> list[bool]:
        """Carry a part out; for each name whether it was refused."""
        refused, self._refused = self._refused or [False] * len(names), []
        self.did.update(name for name, no in zip(names, refused, strict=True) if not no)
        return refused


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)


def once(names: Sequence[str]) -> Counter[str]:
    return Counter(dict.fromkeys(names, 1))


NUMBERS = [str(number) for number in range(BATCH)]


def failed(entries: Sequence[Entry], refused: Sequence[bool], **more: object) -> dict[str, Any]:
    """SQS's answer."""
    return {
        "Failed": [
            {"Id": e["Id"], "Code": "InternalError", **more} for e, no in zip(entries, refused, strict=True) if no
        ]
    }


def test_messages_sent() -> None:
    for pattern in PATTERNS:
        part = Part(pattern)

        def call(batch: Sequence[Entry], part: Part = part) -> dict[str, Any]:
            return failed(batch, part.split([entry["MessageBody"] for entry in batch]))

        send_all(call, [{"MessageBody": name} for name in NUMBERS], "a queue")
        assert part.did == once(NUMBERS)


@pytest.mark.parametrize("action", ["delete", "hide"])
def test_messages_deleted_and_hidden(action: Literal["delete", "hide"]) -> None:
    """By the thread that does so in the background."""
    for pattern in PATTERNS:
        part = Part(pattern)

        def call(part: Part = part, **asked: Any) -> dict[str, Any]:
            batch = asked["Entries"]
            return failed(batch, part.split([entry["ReceiptHandle"] for entry in batch]))

        sqs = SimpleNamespace(delete_message_batch=call, change_message_visibility_batch=call)
        acknowledgements = Acknowledgements(SimpleNamespace(sqs=sqs))  # type: ignore[arg-type]  # all that it uses of its clients
        receipts = [Receipt("a queue", name, 0.0) for name in NUMBERS]
        if action == "delete":
            acknowledgements.delete(receipts)
        else:
            acknowledgements.hide(receipts, 30)
        acknowledgements.close()
        assert part.did == once(NUMBERS)
        assert acknowledgements.dropped == 0


def test_items_written() -> None:
    for pattern in PATTERNS:
        part = Part(pattern)

        def call(part: Part = part, **asked: Any) -> dict[str, Any]:
            puts = asked["RequestItems"][TABLE]
            refused = part.split([put["PutRequest"]["Item"][SORT]["S"] for put in puts])
            left = [put for put, no in zip(puts, refused, strict=True) if no]
            return {"UnprocessedItems": {TABLE: left} if left else {}}

        table_of(batch_write_item=call).put_many([{PARTITION: "p", SORT: name} for name in NUMBERS])
        assert part.did == once(NUMBERS)


def test_items_read() -> None:
    for pattern in PATTERNS:
        part = Part(pattern)

        def call(part: Part = part, **asked: Any) -> dict[str, Any]:
            request = asked["RequestItems"][TABLE]
            keys = request["Keys"]
            refused = part.split([key[SORT]["S"] for key in keys])
            left = [key for key, no in zip(keys, refused, strict=True) if no]
            return {
                "Responses": {
                    TABLE: [{**k, **attributes({"n": 1})} for k, no in zip(keys, refused, strict=True) if not no]
                },
                "UnprocessedKeys": {TABLE: {**request, "Keys": left}} if left else {},
            }

        found = table_of(batch_get_item=call).get_many([("p", name) for name in NUMBERS])
        assert sorted(sort for _, sort in found) == NUMBERS
        assert part.did == once(NUMBERS)


def table_of(**calls: Any) -> Table:
    """A table whose client knows these calls only."""
    client: Any = SimpleNamespace(meta=SimpleNamespace(region_name="eu-west-1"), **calls)
    return Table(lambda: client, TABLE, sleep=lambda _: None)


def test_refused_for_ever() -> None:
    with pytest.raises(GridUnavailable, match="InternalError"):
        send_all(lambda batch: failed(batch, [True] * len(batch)), [{}] * 35, "a queue")
    with pytest.raises(GridError, match="InternalError"):
        send_all(lambda batch: failed(batch, [True], SenderFault=True), [{}], "a queue")
    everything_left = table_of(batch_write_item=lambda **asked: {"UnprocessedItems": asked["RequestItems"]})
    with pytest.raises(GridUnavailable, match=TABLE):
        everything_left.put_many([{PARTITION: "p", SORT: name} for name in NUMBERS])


@pytest.mark.parametrize("code", ["RequestThrottled", "AWS.SimpleQueueService.RequestThrottled"])
def test_a_throttled_batch_may_be_sent_again(code: str) -> None:
    """Also by the name that the older protocol of SQS has for it."""
    error = grid_error(ClientError({"Error": {"Code": code, "Message": "too many"}}, "SendMessageBatch"), "a queue")
    assert isinstance(error, GridUnavailable)
