"""Python values to and from DynamoDB's attribute values, for the few types that the table uses.

boto3's own conversion makes a Decimal of every number and costs several times as much.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Item = dict[str, Any]


def attribute(value: Any) -> dict[str, Any]:
    """One attribute value.

    Raises:
        TypeError: the table has no values of this type.
    """
    match value:
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": str(value)}
        case int():
            return {"N": str(value)}
        case float():
            return {"N": str(int(value)) if value.is_integer() else repr(value)}
        case bytes():
            return {"B": value}
        case list():
            return {"L": [attribute(one) for one in value]}
    raise TypeError(f"{type(value).__name__} is no attribute of the table")


def attributes(item: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """An item; what is None is left out."""
    return {name: attribute(value) for name, value in item.items() if value is not None}


def value(attribute: Mapping[str, Any]) -> Any:
    """The Python value of one attribute."""
    ((kind, content),) = attribute.items()
    if kind == "N":
        return int(content) if content.lstrip("-").isdigit() else float(content)
    if kind == "L":
        return [value(one) for one in content]
    return content


def values(item: Mapping[str, Mapping[str, Any]]) -> Item:
    """An item as Python values."""
    return {name: value(attribute) for name, attribute in item.items()}
