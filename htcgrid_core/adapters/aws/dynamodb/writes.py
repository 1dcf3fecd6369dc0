"""Conditional writes of one item each, as requests, and the conditions that did not hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item, attribute, attributes
from htcgrid_core.adapters.aws.dynamodb.schema import PARTITION, SORT, Key

_NAME, _ARGUMENT = re.compile(r"#(\w+)"), re.compile(r":(\w+)")


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
        deletes: the item is deleted instead; only in a transaction.
        arguments: values by their names; those that no expression uses are not sent.
    """

    key: Key
    condition: str
    update: str | None = None
    item: Item = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    deletes: bool = False

    @property
    def kind(self) -> str:
        """As a transaction names it."""
        if self.deletes:
            return "Delete"
        return "Put" if self.update is None else "Update"


def request_of(write: Write, table: str) -> dict[str, Any]:
    """What PutItem, UpdateItem or a transaction is asked with."""
    parameters: dict[str, Any] = {
        "TableName": table,
        **({"ConditionExpression": write.condition} if write.condition else {}),
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    expressions = f"{write.condition} {write.update or ''}"
    names, arguments = set(_NAME.findall(expressions)), set(_ARGUMENT.findall(expressions))
    if names:
        parameters["ExpressionAttributeNames"] = {f"#{name}": name for name in names}
    if arguments:
        parameters["ExpressionAttributeValues"] = {f":{name}": attribute(write.arguments[name]) for name in arguments}
    if write.kind == "Delete":
        return {**parameters, "Key": key_attributes(write.key)}
    if write.update is None:
        partition, sort = write.key
        return {**parameters, "Item": attributes({PARTITION: partition, SORT: sort, **write.item})}
    return {**parameters, "Key": key_attributes(write.key), "UpdateExpression": write.update}


def key_attributes(key: Key) -> dict[str, dict[str, Any]]:
    """A key as requests have it."""
    return attributes({PARTITION: key[0], SORT: key[1]})
