"""How many of DynamoDB's units an operation takes, by its rules: emulators report it wrongly.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from htcgrid_core.adapters.aws.dynamodb.schema import INDEX_KEYS

WRITE_UNIT_BYTES, READ_UNIT_BYTES = 1024, 4096

Attributes = Mapping[str, Mapping[str, Any]]  # an item as attribute values


def item_bytes(item: Attributes) -> int:
    """The size of an item: its attributes' names and values."""
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def write_units(before: Attributes | None, after: Attributes | None, *, transactional: bool = False) -> int:
    """Units of a write that leaves ``after`` where ``before`` was; None is no item.

    The larger of the two counts, a transaction writes twice, and an entry of an index that comes or goes is a write.
    """
    size = max(item_bytes(before or {}), item_bytes(after or {}))
    units = max(1, math.ceil(size / WRITE_UNIT_BYTES))
    return units * (2 if transactional else 1) + sum(
        _entry_units(keys, before or {}, after or {}) for keys in INDEX_KEYS.values()
    )


def read_units(size: int, *, consistent: bool = True) -> float:
    """Units of a read of so many bytes: one item, or all that one query looked at."""
    return max(1, math.ceil(size / READ_UNIT_BYTES)) * (1.0 if consistent else 0.5)


def _entry_units(keys: tuple[str, str], before: Attributes, after: Attributes) -> int:
    """An entry is there if its item has both keys; it holds keys only, so nothing else of the item touches it."""
    entries = [
        tuple(item.get(key) for key in keys) if all(key in item for key in keys) else None for item in (before, after)
    ]
    if entries[0] == entries[1]:
        return 0
    return sum(entry is not None for entry in entries)


def _value_bytes(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(str(content).encode())
        case "B":
            return len(bytes(content))
        case "M":
            return 3 + sum(1 + len(name.encode()) + _value_bytes(one) for name, one in content.items())
        case "N":
            digits = content.lstrip("-").replace(".", "").partition("e")[0].strip("0")
            return math.ceil(len(digits) / 2) + 1 + int(content.startswith("-"))
        case "L":
            return 3 + sum(1 + _value_bytes(one) for one in content)
    return 1  # a boolean
