"""Values as Terraform sends them, and what of them a schema alone can check and plan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack
from tf.gen import tfplugin_pb2

Block = dict[str, Any]


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = _Unknown()


def decode(value: Any) -> Any:
    """A value of the protocol; unknown parts are UNKNOWN."""
    return msgpack.unpackb(value.msgpack, ext_hook=_not_known, strict_map_key=False, raw=False)


def encode(value: Any) -> Any:
    """A value for the protocol."""
    return tfplugin_pb2.DynamicValue(msgpack=msgpack.packb(value, default=_unknown))


def _not_known(code: int, data: bytes) -> _Unknown:
    return UNKNOWN


def _unknown(value: Any) -> Any:
    assert value is UNKNOWN, value
    return msgpack.ExtType(0, b"\0")


def has_unknown(value: Any) -> bool:
    """Whether any part of it is unknown."""
    if isinstance(value, dict):
        return any(map(has_unknown, value.values()))
    return any(map(has_unknown, value)) if isinstance(value, list) else value is UNKNOWN


def each_block(schema: Block, value: dict[str, Any]) -> Iterator[tuple[Block, dict[str, Any]]]:
    """The blocks inside, each with its schema."""
    for name, nested in schema["blocks"].items():
        inside = value.get(name)
        if isinstance(inside, dict) and nested["nesting"] != "map":
            inside = [inside]
        for each in (inside.values() if isinstance(inside, dict) else inside) if inside not in (None, UNKNOWN) else ():
            if each is not UNKNOWN and each is not None:
                yield nested["block"], each


def faults(schema: Block, config: dict[str, Any]) -> Iterator[str]:
    """What the provider itself refuses, as far as a schema tells."""
    for name, attribute in schema["attributes"].items():
        decided = attribute["computed"] and not attribute["optional"]
        if decided and config.get(name) is not None:
            yield f"{name} is decided by AWS and cannot be set"
        if name.endswith("_prefix") and config.get(name) is not None and config.get(name[:-7]) is not None:
            yield f"{name} conflicts with {name[:-7]}"
    for nested, value in each_block(schema, config):
        yield from faults(nested, value)


def plan(schema: Block, proposed: dict[str, Any]) -> dict[str, Any]:
    """What is known before AWS has said anything: what it decides is unknown; what is write-only is not kept."""
    for name, attribute in schema["attributes"].items():
        if name.endswith("_wo"):
            proposed[name] = None
        elif attribute["computed"] and proposed.get(name) is None:
            proposed[name] = UNKNOWN
    for nested, value in each_block(schema, proposed):
        plan(nested, value)
    return proposed
