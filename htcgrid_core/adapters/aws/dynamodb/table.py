"""One DynamoDB table: reads and conditional writes of items, with whole batches and failed conditions told apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item, attribute, attributes, values
from htcgrid_core.adapters.aws.dynamodb.retries import RetriedCalls, WriteRefused
from htcgrid_core.adapters.aws.dynamodb.schema import PARTITION, SORT, Key
from htcgrid_core.adapters.aws.dynamodb.writes import ConditionFailed, Write, key_attributes, request_of
from htcgrid_core.adapters.aws.errors import grid_error

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

BATCH_READ, BATCH_WRITE, TRANSACTION = 100, 25, 100  # DynamoDB's limits, in items
_AGAIN = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})


class Table:
    """One table; may be used from many threads.

    Args:
        client: gives boto3's client, one for each process.
        name: of the table.
        sleep: waits before a call is tried again, for a number of seconds.
    """

    def __init__(self, client: Callable[[], DynamoDBClient], name: str, *, sleep: Callable[[float], None]) -> None:
        self.client = client
        self.name = name
        self._calls = RetriedCalls(client, name, sleep)

    # Reading

    def get(self, key: Key) -> Item | None:
        """One item, as the last write left it."""
        answer = self._calls.call(
            lambda db: db.get_item(TableName=self.name, Key=key_attributes(key), ConsistentRead=True)
        )
        return values(answer["Item"]) if "Item" in answer else None

    def get_many(self, keys: Sequence[Key], names: Sequence[str] = ()) -> dict[Key, Item]:
        """The items there are, as the last writes left them; one call for each hundred keys.

        Args:
            names: attributes to read; all if there are none. Keys are read in any case.
        """
        found: dict[Key, Item] = {}
        request: dict[str, Any] = {"ConsistentRead": True}
        if names:
            read = [PARTITION, SORT, *names]
            request["ProjectionExpression"] = ", ".join(f"#{at}" for at in range(len(read)))
            request["ExpressionAttributeNames"] = {f"#{at}": name for at, name in enumerate(read)}
        keys = list(dict.fromkeys(keys))
        for at in range(0, len(keys), BATCH_READ):
            left = [key_attributes(key) for key in keys[at : at + BATCH_READ]]
            for attempt in self._calls.attempts_at_all(left, "read all of a batch"):
                answer = self._calls.call(partial(_batch_get, items={self.name: {**request, "Keys": list(left)}}))
                for raw in answer["Responses"].get(self.name, ()):
                    item = values(raw)
                    found[item[PARTITION], item[SORT]] = item
                left[:] = answer.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", ())
                self._calls.pause(attempt if left else None)
        return found

    def query(
        self,
        partition: str,
        low: str,
        high: str,
        *,
        names: Sequence[str] = (),
        piece: int | None = None,
        backwards: bool = False,
        consistent: bool = True,
    ) -> Iterator[Item]:
        """Items of one partition with sort keys from ``low`` to ``high``, in order.

        Args:
            consistent: as the last writes left them; else they may lag behind, for half the price.
            piece: how many to read in one call, for a reader that may stop early.
        """
        request: dict[str, Any] = {
            "TableName": self.name,
            "KeyConditionExpression": f"{PARTITION} = :p AND {SORT} BETWEEN :low AND :high",
            "ExpressionAttributeValues": attributes({":p": partition, ":low": low, ":high": high}),
            "ConsistentRead": consistent,
            "ScanIndexForward": not backwards,
        }
        if names:
            request["ProjectionExpression"] = ", ".join(f"#{at}" for at in range(len(names)))
            request["ExpressionAttributeNames"] = {f"#{at}": name for at, name in enumerate(names)}
        if piece is not None:
            request["Limit"] = piece
        yield from self._pages(request)

    def index(
        self,
        index: str,
        partition: tuple[str, str],
        *,
        below: tuple[str, float] | None = None,
        above: tuple[str, float] | None = None,
        start: Item | None = None,
        backwards: bool = False,
        piece: int | None = None,
    ) -> Iterator[Item]:
        """Keys of an index, in order; they may lag behind the writes.

        Args:
            partition: the name and the value of the index's partition key.
            below: the name of its sort key and a number that it must be below or at; below, if ``backwards``.
            above: instead, a number that it must be above or at.
            start: keys after which to begin.
        """
        request: dict[str, Any] = {
            "TableName": self.name,
            "IndexName": index,
            "KeyConditionExpression": "#p = :p",
            "ExpressionAttributeNames": {"#p": partition[0]},
            "ExpressionAttributeValues": {":p": attribute(partition[1])},
            "ScanIndexForward": not backwards,
        }
        if bound := below or above:
            sign = ">=" if below is None else "<" if backwards else "<="
            request["KeyConditionExpression"] += f" AND #s {sign} :s"
            request["ExpressionAttributeNames"]["#s"] = bound[0]
            request["ExpressionAttributeValues"][":s"] = attribute(float(bound[1]))
        if start is not None:
            request["ExclusiveStartKey"] = attributes(start)
        if piece is not None:
            request["Limit"] = piece
        yield from self._pages(request)

    def _pages(self, request: dict[str, Any]) -> Iterator[Item]:
        while True:
            answer = self._calls.call(partial(_query, request=request))
            yield from map(values, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            request = {**request, "ExclusiveStartKey": answer["LastEvaluatedKey"]}

    # Writing

    def write(self, write: Write) -> Item:
        """One conditional write; the item as it then is (empty after a put).

        Raises:
            ConditionFailed: with the item as it is.
        """
        try:
            if write.update is None:
                self._calls.call(partial(_put, request=request_of(write, self.name)))
                return {}
            request = {**request_of(write, self.name), "ReturnValues": "ALL_NEW"}
            return values(self._calls.call(partial(_update, request=request))["Attributes"])
        except WriteRefused as refused:
            answer: Any = refused.error.response
            raise ConditionFailed([values(answer.get("Item", {}))]) from None

    def transact(self, writes: Sequence[Write]) -> None:
        """Several conditional writes, all or nothing; tried again while others are writing the same items.

        Raises:
            ConditionFailed: with the items whose conditions failed.
        """
        items = [{write.kind: request_of(write, self.name)} for write in writes]
        for attempt in self._calls.attempts("write while others write the same items"):
            try:
                self._calls.call(partial(_transact, items=items))
                return
            except WriteRefused as refused:
                reasons = refused.error.response.get("CancellationReasons", [])
                codes = {reason.get("Code") for reason in reasons}
                if "ConditionalCheckFailed" in codes:
                    raise ConditionFailed([_failed(reason) for reason in reasons]) from None
                if not codes & _AGAIN:
                    raise grid_error(refused.error, self._calls.resource) from refused.error
                self._calls.pause(attempt)

    def put_many(self, items: Sequence[Item]) -> None:
        """Put items that nobody else writes, 25 in one call."""
        for at in range(0, len(items), BATCH_WRITE):
            left = [{"PutRequest": {"Item": attributes(item)}} for item in items[at : at + BATCH_WRITE]]
            for attempt in self._calls.attempts_at_all(left, "write all of a batch"):
                answer = self._calls.call(partial(_batch_write, items={self.name: list(left)}))
                left[:] = answer.get("UnprocessedItems", {}).get(self.name, ())
                self._calls.pause(attempt if left else None)

    def delete(self, key: Key) -> None:
        """Delete an item, if it is there."""
        self._calls.call(lambda db: db.delete_item(TableName=self.name, Key=key_attributes(key)))


def _failed(reason: Any) -> Item | None:
    return values(reason.get("Item", {})) if reason.get("Code") == "ConditionalCheckFailed" else None


# boto3's stubs want literals for what is put together here.


def _batch_get(db: DynamoDBClient, items: Any) -> Any:
    return db.batch_get_item(RequestItems=items)


def _batch_write(db: DynamoDBClient, items: Any) -> Any:
    return db.batch_write_item(RequestItems=items)


def _query(db: DynamoDBClient, request: Any) -> Any:
    return db.query(**request)


def _put(db: DynamoDBClient, request: Any) -> Any:
    return db.put_item(**request)


def _update(db: DynamoDBClient, request: Any) -> Any:
    return db.update_item(**request)


def _transact(db: DynamoDBClient, items: Any) -> Any:
    return db.transact_write_items(TransactItems=items)
