"""Calls of one DynamoDB table, with the grid's errors, whole batches and the conditions that failed told apart."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item, attribute, attributes, values
from htcgrid_core.adapters.aws.dynamodb.schema import PARTITION, SORT
from htcgrid_core.adapters.aws.errors import code_of, grid_error, is_throttle
from htcgrid_core.domain.errors import GridUnavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Key = tuple[str, str]
T = TypeVar("T")

_NAME, _ARGUMENT = re.compile(r"#(\w+)"), re.compile(r":(\w+)")
BATCH_READ, BATCH_WRITE, TRANSACTION = 100, 25, 100  # DynamoDB's limits, in items
TRIES = 8
BASE_SECONDS, CAP_SECONDS = 0.01, 1.0
_AGAIN = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})


class ConditionFailed(Exception):
    """A condition did not hold; nothing was written.

    Attributes:
        items: for each item of the write, in order, what it is if its condition failed, and None if it did not.
    """

    def __init__(self, items: Sequence[Item | None]) -> None:
        super().__init__(f"conditions failed: {[item is not None for item in items]}")
        self.items = list(items)

    @property
    def item(self) -> Item:
        """The item of a single write as it is; empty if there is none."""
        return self.items[0] or {}


@dataclass(frozen=True)
class Write:
    """One conditional write of one item.

    Attributes:
        condition: an expression (empty for none) in which every attribute is ``#name`` and every argument ``:name``.
        update: an update expression, likewise; None puts ``item``.
        arguments: values by their names; those that no expression uses are not sent.
    """

    key: Key
    condition: str
    update: str | None = None
    item: Item = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)


class Table:
    """One table; may be used from many threads.

    Args:
        client: gives boto3's client, one for each process.
        name: of the table.
    """

    def __init__(self, client: Callable[[], DynamoDBClient], name: str, *, sleep: Callable[[float], None]) -> None:
        self._client = client
        self.name = name
        self._sleep = sleep
        self._rng = random.SystemRandom()

    # Reading

    def get(self, key: Key) -> Item | None:
        """One item, as the last write left it."""
        answer = self._call(lambda db: db.get_item(TableName=self.name, Key=_key(key), ConsistentRead=True))
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
            left = [_key(key) for key in keys[at : at + BATCH_READ]]
            for attempt in self._attempts_at_all(left, "read all of a batch"):
                answer = self._call(partial(_batch_get, items={self.name: {**request, "Keys": list(left)}}))
                for raw in answer["Responses"].get(self.name, ()):
                    item = values(raw)
                    found[item[PARTITION], item[SORT]] = item
                left[:] = answer.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", ())
                self._pause(attempt if left else None)
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
        backwards: bool = False,
        piece: int | None = None,
    ) -> Iterator[Item]:
        """Keys of an index, in order; they may lag behind the writes.

        Args:
            partition: the name and the value of the index's partition key.
            below: the name of its sort key and a number that it must be below or at; below, if ``backwards``.
        """
        request: dict[str, Any] = {
            "TableName": self.name,
            "IndexName": index,
            "KeyConditionExpression": "#p = :p",
            "ExpressionAttributeNames": {"#p": partition[0]},
            "ExpressionAttributeValues": {":p": attribute(partition[1])},
            "ScanIndexForward": not backwards,
        }
        if below is not None:
            request["KeyConditionExpression"] += f" AND #s {'<' if backwards else '<='} :s"
            request["ExpressionAttributeNames"]["#s"] = below[0]
            request["ExpressionAttributeValues"][":s"] = attribute(float(below[1]))
        if piece is not None:
            request["Limit"] = piece
        yield from self._pages(request)

    def _pages(self, request: dict[str, Any]) -> Iterator[Item]:
        while True:
            answer = self._call(partial(_query, request=request))
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
                self._call(partial(_put, request=self._parameters(write)))
                return {}
            request = {**self._parameters(write), "ReturnValues": "ALL_NEW"}
            return values(self._call(partial(_update, request=request))["Attributes"])
        except _Refused as refused:
            answer: Any = refused.error.response
            raise ConditionFailed([values(answer.get("Item", {}))]) from None

    def transact(self, writes: Sequence[Write]) -> None:
        """Several conditional writes, all or nothing; tried again while others are writing the same items.

        Raises:
            ConditionFailed: with the items whose conditions failed.
        """
        items = [{"Put" if write.update is None else "Update": self._parameters(write)} for write in writes]
        for attempt in self._attempts("write while others write the same items"):
            try:
                self._call(partial(_transact, items=items))
                return
            except _Refused as refused:
                reasons = refused.error.response.get("CancellationReasons", [])
                codes = {reason.get("Code") for reason in reasons}
                if "ConditionalCheckFailed" in codes:
                    raise ConditionFailed([_failed(reason) for reason in reasons]) from None
                if not codes & _AGAIN:
                    raise grid_error(refused.error, self._resource()) from refused.error
                self._pause(attempt)

    def put_many(self, items: Sequence[Item]) -> None:
        """Put items that nobody else writes, 25 in one call."""
        for at in range(0, len(items), BATCH_WRITE):
            left = [{"PutRequest": {"Item": attributes(item)}} for item in items[at : at + BATCH_WRITE]]
            for attempt in self._attempts_at_all(left, "write all of a batch"):
                answer = self._call(partial(_batch_write, items={self.name: list(left)}))
                left[:] = answer.get("UnprocessedItems", {}).get(self.name, ())
                self._pause(attempt if left else None)

    def delete(self, key: Key) -> None:
        """Delete an item, if it is there."""
        self._call(lambda db: db.delete_item(TableName=self.name, Key=_key(key)))

    def _parameters(self, write: Write) -> dict[str, Any]:
        parameters: dict[str, Any] = {
            "TableName": self.name,
            **({"ConditionExpression": write.condition} if write.condition else {}),
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        expressions = f"{write.condition} {write.update or ''}"
        names, arguments = set(_NAME.findall(expressions)), set(_ARGUMENT.findall(expressions))
        if names:
            parameters["ExpressionAttributeNames"] = {f"#{name}": name for name in names}
        if arguments:
            parameters["ExpressionAttributeValues"] = {
                f":{name}": attribute(write.arguments[name]) for name in arguments
            }
        if write.update is None:
            partition, sort = write.key
            return {**parameters, "Item": attributes({PARTITION: partition, SORT: sort, **write.item})}
        return {**parameters, "Key": _key(write.key), "UpdateExpression": write.update}

    # Calling

    def _call(self, call: Callable[[DynamoDBClient], T]) -> T:
        for attempt in self._attempts("be heard, since AWS throttles it"):
            try:
                return call(self._client())
            except ClientError as error:
                if code_of(error) in ("ConditionalCheckFailedException", "TransactionCanceledException"):
                    raise _Refused(error) from None
                if not is_throttle(error):
                    raise grid_error(error, self._resource()) from error
                self._pause(attempt)
            except BotoCoreError as error:
                raise grid_error(error, self._resource()) from error
        raise AssertionError("the attempts end with an error")

    def _attempts(self, what: str) -> Iterator[int]:
        yield from range(TRIES)
        raise GridUnavailable(f"{self._resource()}: this process could not {what}, {TRIES} times; try again")

    def _attempts_at_all(self, left: Sequence[Any], what: str) -> Iterator[int]:
        """Attempts until nothing is left; what was done in part is done by the next one, or the one after."""
        attempts, before = self._attempts(what), len(left)
        attempt = next(attempts)
        while left:
            yield attempt
            attempt = next(attempts) if len(left) >= before else attempt
            before = len(left)

    def _pause(self, attempt: int | None) -> None:
        if attempt is None:
            return
        self._sleep(self._rng.uniform(0.0, longest_pause(attempt)))

    def _resource(self) -> str:
        return f"DynamoDB table {self.name} in {self._client().meta.region_name}"


class _Refused(Exception):
    """A condition or a conflict, before it is looked at."""

    def __init__(self, error: ClientError) -> None:
        super().__init__(str(error))
        self.error = error


def longest_pause(attempt: int) -> float:
    """Seconds after an attempt that failed, the first of which is number 0."""
    return min(CAP_SECONDS, BASE_SECONDS * 3.0**attempt)


def pause(seconds: float) -> None:
    """Wait before a call is tried again."""
    time.sleep(seconds)


def _key(key: Key) -> dict[str, dict[str, Any]]:
    return attributes({PARTITION: key[0], SORT: key[1]})


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
