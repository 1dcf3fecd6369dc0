"""A DynamoDB table in memory, as boto3's client shows it: what the store's expressions say, one call at a time.

Each call is one step: of calls that are made at the same time, as virtual time has it, each sees the others' whole or
not at all, as DynamoDB's are.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

Values = dict[str, Any]
Key = tuple[str, str]
_TEST = re.compile(r"attribute_(not_)?exists\((#\w+)\)|(#\w+) (=|<=|>) (:\w+)")
_ASSIGNMENT = re.compile(r"(#\w+) = (list_append\((?:if_not_exists\([^)]*\)|#\w+), :\w+\)|[#:]\w+)(?:, |$)")
_CLAUSE = re.compile(r"(?:^| )(SET|ADD|REMOVE) (.*?)(?= (?:SET|ADD|REMOVE) |$)")
_DEFAULT = re.compile(r"(?:if_not_exists\((#\w+), (:\w+)\)|(#\w+))")


class MemoryDynamo:
    """What the store calls of a client.

    Args:
        step: called before each call with its name; may raise instead of it.
        after: called after it, before its answer; may raise instead of that.
    """

    def __init__(self, items: dict[Key, Values], step: Callable[[str], None], after: Callable[[str], None]) -> None:
        self._items = items
        self._step = step
        self._after = after
        self.meta = SimpleNamespace(region_name="nowhere")

    def _answer(self, name: str, call: Callable[[], Any]) -> Any:
        self._step(name)
        answer = call()
        self._after(name)
        return answer

    def get_item(self, *, Key: Values, **_: Any) -> Any:  # noqa: N803 - boto3's names
        return self._answer("GetItem", lambda: self._got(Key))

    def _got(self, key: Values) -> Any:
        found = self._items.get(_key(key))
        return {} if found is None else {"Item": copy.deepcopy(found)}

    def batch_get_item(self, *, RequestItems: Values) -> Any:  # noqa: N803
        ((table, asked),) = RequestItems.items()

        def read() -> Any:
            found = [self._items[_key(key)] for key in asked["Keys"] if _key(key) in self._items]
            return {"Responses": {table: copy.deepcopy(found)}}

        return self._answer("BatchGetItem", read)

    def query(self, **asked: Any) -> Any:
        values = {name: value["S"] for name, value in asked["ExpressionAttributeValues"].items()}

        def read() -> Any:
            keys = [
                k for k in sorted(self._items) if k[0] == values[":p"] and values[":low"] <= k[1] <= values[":high"]
            ]
            keys = keys[:: 1 if asked["ScanIndexForward"] else -1]
            return {"Items": copy.deepcopy([self._items[key] for key in keys])}

        return self._answer("Query", read)

    def put_item(self, **write: Any) -> Any:
        return self._answer("PutItem", lambda: self._write_all([{"Put": write}], "ConditionalCheckFailedException"))

    def update_item(self, **write: Any) -> Any:
        return self._answer(
            "UpdateItem", lambda: self._write_all([{"Update": write}], "ConditionalCheckFailedException")
        )

    def transact_write_items(self, *, TransactItems: list[Values]) -> Any:  # noqa: N803
        return self._answer(
            "TransactWriteItems", lambda: self._write_all(TransactItems, "TransactionCanceledException")
        )

    def batch_write_item(self, *, RequestItems: Values) -> Any:  # noqa: N803
        ((_, writes),) = RequestItems.items()
        return self._answer(
            "BatchWriteItem", lambda: self._write_all([{"Put": one["PutRequest"]} for one in writes], "")
        )

    def _write_all(self, writes: list[Values], code: str) -> Any:
        asked = [(kind, write) for one in writes for kind, write in one.items()]
        reasons = []
        for _, write in asked:
            item = self._items.get(_key(write.get("Key") or write["Item"]))
            is_met = _holds(write.get("ConditionExpression", ""), item or {}, write)
            shown = {} if item is None else {"Item": copy.deepcopy(item)}
            reasons.append({"Code": "None"} if is_met else {"Code": "ConditionalCheckFailed", **shown})
        if any(reason["Code"] != "None" for reason in reasons):
            told: Any = {"Error": {"Code": code}, "CancellationReasons": reasons, **reasons[0]}
            raise ClientError(told, "Write")
        after: Values = {}
        for kind, write in asked:
            key = _key(write.get("Key") or write["Item"])
            item = write["Item"] if kind == "Put" else {**self._items.get(key, {}), **write["Key"]}
            after = copy.deepcopy(item)
            if kind == "Update":
                _update(after, write)
            self._items[key] = after
        return {"Attributes": copy.deepcopy(after)}


def _key(item: Mapping[str, Any]) -> Key:
    return item["pk"]["S"], item["sk"]["S"]


def _holds(condition: str, item: Values, write: Values) -> bool:
    names, values = write.get("ExpressionAttributeNames", {}), write.get("ExpressionAttributeValues", {})
    tests = condition.split(" AND ") if condition else []
    return all(_test(test, item, names, values) for test in tests)


def _test(test: str, item: Values, names: Values, values: Values) -> bool:
    found = _TEST.fullmatch(test)
    assert found is not None, f"no test that this table knows: {test}"
    negated, exists, name, operator, argument = found.groups()
    if exists:
        return (names[exists] in item) is not bool(negated)
    if names[name] not in item:
        return False
    mine, other = _plain(item[names[name]]), _plain(values[argument])
    return bool({"=": mine == other, "<=": mine <= other, ">": mine > other}[operator])


def _plain(value: Values) -> Any:
    ((kind, content),) = value.items()
    return Decimal(content) if kind == "N" else content


def _update(item: Values, write: Values) -> None:
    names, values = write.get("ExpressionAttributeNames", {}), write.get("ExpressionAttributeValues", {})
    before = dict(item)
    for clause, text in _CLAUSE.findall(write["UpdateExpression"]):
        match clause:
            case "SET":
                for name, value in _ASSIGNMENT.findall(text):
                    item[names[name]] = _value(value, before, names, values)
            case "ADD":
                for name, argument in re.findall(r"(#\w+) (:\w+)", text):
                    old = before.get(names[name], {"N": "0"})
                    item[names[name]] = {"N": str(_plain(old) + _plain(values[argument]))}
            case _:
                for name in re.findall(r"#\w+", text):
                    item.pop(names[name], None)


def _value(text: str, item: Values, names: Values, values: Values) -> Values:
    if text.startswith(":"):
        found: Values = values[text]
        return found
    if text.startswith("list_append("):
        inner, _, argument = text.removeprefix("list_append(").removesuffix(")").rpartition(", ")
        default = _DEFAULT.fullmatch(inner)
        assert default is not None, f"no list that this table knows: {inner}"
        name = names[default[1] or default[3]]
        old = item.get(name) or values[default[2]]
        return {"L": [*old["L"], *values[argument]["L"]]}
    assert text.startswith("#"), f"no value that this table knows: {text}"
    copied: Values = item[names[text]]
    return copied
