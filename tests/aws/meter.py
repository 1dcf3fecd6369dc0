"""What a client asks of AWS: every request counted by botocore's own events, DynamoDB's units by our calculator."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

from htcgrid_core.adapters.aws.dynamodb import capacity
from htcgrid_core.domain.prices import PRICES
from tests.aws.emulators import Account

Key = tuple[str, str]


class Meter:
    """Counts what goes through the clients that it watches, of any number of threads that write different items.

    Attributes:
        calls: HTTP requests by operation, those that botocore repeats included.
        write_units, read_units: of DynamoDB.
        writes: write units by what was written: the first letter of the sort key.
    """

    def __init__(self, account: Account, table: str) -> None:
        self._table = table
        self._reader = account.dynamodb()
        self._lock = threading.RLock()
        self._items: dict[Key, dict[str, Any]] = {}
        self.calls: Counter[str] = Counter()
        self.writes: Counter[str] = Counter()
        self.read_units = 0.0

    @property
    def write_units(self) -> int:
        """All of them."""
        return self.writes.total()

    @property
    def dollars(self) -> float:
        """What it cost."""
        return PRICES.dollars(self.calls, self.write_units, self.read_units)

    def watch(self, client: Any) -> Any:
        """Count this client's requests, or those of all clients that a boto3 session makes from now on; returns it."""
        events = _events(client)
        events.register("before-parameter-build.*.*", self._remember)
        events.register("after-call.dynamodb.*", self._charge)
        return self.count(client)

    def count(self, client: Any) -> Any:
        """The same, without their units."""
        _events(client).register("request-created.*.*", lambda operation_name, **_: self._count(operation_name))
        return client

    def reset(self) -> None:
        """Count from nothing."""
        with self._lock:
            self.calls.clear()
            self.writes.clear()
            self.read_units = 0.0

    def _count(self, operation: str) -> None:
        with self._lock:
            self.calls[operation] += 1

    @staticmethod
    def _remember(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        context["asked"] = params

    def _charge(self, parsed: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        asked = context["asked"]
        with self._lock:
            self._charge_for(model.name, asked, parsed)

    def _charge_for(self, operation: str, asked: dict[str, Any], parsed: dict[str, Any]) -> None:
        match operation:
            case "PutItem" | "UpdateItem" | "DeleteItem":
                self._written(_key(asked.get("Key") or asked["Item"]))
            case "TransactWriteItems":
                for one in asked["TransactItems"]:
                    ((_, write),) = one.items()
                    self._written(_key(write.get("Key") or write["Item"]), transactional=True)
            case "BatchWriteItem":
                for one in asked["RequestItems"][self._table]:
                    self._written(_key(one["PutRequest"]["Item"]))
            case "GetItem":
                self.read_units += capacity.read_units(capacity.item_bytes(parsed.get("Item", {})))
            case "BatchGetItem":
                for key in asked["RequestItems"][self._table]["Keys"]:
                    self.read_units += capacity.read_units(capacity.item_bytes(self._items.get(_key(key), {})))
            case "Query" if "IndexName" not in asked:
                size = sum(map(capacity.item_bytes, self._looked_at(asked, parsed["Count"])))
                self.read_units += capacity.read_units(size, consistent=asked["ConsistentRead"])
            case "Query":
                self.read_units += capacity.read_units(100 * parsed["Count"], consistent=False)

    def _written(self, key: Key, *, transactional: bool = False) -> None:
        """A write that was refused is paid for too."""
        before = self._items.get(key)
        answer = self._reader.get_item(
            TableName=self._table, Key={"pk": {"S": key[0]}, "sk": {"S": key[1]}}, ConsistentRead=True
        )
        after: dict[str, Any] | None = answer.get("Item")
        self.writes[key[1][0]] += capacity.write_units(before, after, transactional=transactional)
        if after is None:
            self._items.pop(key, None)
        else:
            self._items[key] = after

    def _looked_at(self, asked: dict[str, Any], count: int) -> Iterator[dict[str, Any]]:
        """The whole items that a query read, which a projection does not make smaller."""
        values = {name: value["S"] for name, value in asked["ExpressionAttributeValues"].items()}
        keys = sorted(
            key for key in self._items if key[0] == values[":p"] and values[":low"] <= key[1] <= values[":high"]
        )
        if not asked["ScanIndexForward"]:
            keys.reverse()
        yield from (self._items[key] for key in keys[:count])


def _events(client: Any) -> Any:
    return client.events if hasattr(client, "events") else client.meta.events


def _key(item: dict[str, Any]) -> Key:
    return item["pk"]["S"], item["sk"]["S"]
