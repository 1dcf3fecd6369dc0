"""IAM policies, as far as ours go: who may do what on which resource."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from tests.infra.calls import Need


@dataclass(frozen=True)
class Grant:
    """One action on one resource that a policy allows, as it is written there."""

    action: str
    resource: str
    conditions: tuple[tuple[str, str, tuple[str, ...]], ...] = ()

    def covers(self, need: Need) -> bool:
        """Whether it allows that. A resource of a need may itself end with ``*``: all below it."""
        return (
            fnmatchcase(need.action.lower(), self.action.lower())
            and fnmatchcase(need.resource, self.resource)
            and all(_holds(*condition, need) for condition in self.conditions)
        )


def grants(policy: str) -> Iterator[Grant]:
    """Every action with every resource that a document allows."""
    yield from _grants(policy, "Allow")


def denials(policy: str) -> Iterator[Grant]:
    """Every action with every resource that a document denies, whatever else allows it."""
    yield from _grants(policy, "Deny")


def _grants(policy: str, effect: str) -> Iterator[Grant]:
    for statement in json.loads(policy)["Statement"]:
        if statement["Effect"] != effect:
            continue
        conditions = tuple(
            (test, key, tuple(_list(values)))
            for test, each in statement.get("Condition", {}).items()
            for key, values in each.items()
        )
        for action in _list(statement["Action"]):
            for resource in _list(statement["Resource"]):
                yield Grant(action, resource, conditions)


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _holds(test: str, key: str, values: tuple[str, ...], need: Need) -> bool:
    assert (test, key) == ("StringEquals", "kms:ViaService"), f"{test} of {key} is not understood"
    return need.via in values
