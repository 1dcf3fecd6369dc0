"""Payloads in their items, deflated where that is shorter."""

from __future__ import annotations

import zlib
from typing import Any

from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.domain.errors import ResultTooLarge
from htcgrid_core.domain.payload import Payload

PAYLOAD_BYTES = 350_000  # in an item, of DynamoDB's 400 KB
_DEFLATE_FROM_BYTES = 200
MOST_INFLATED_BYTES = 4 << 20  # of what has no size beside it: a spec, or which tasks a bundle has


def payload_attributes(payload: Payload) -> dict[str, Any]:
    """A payload in its item: as it is, deflated if that is shorter, or by its key.

    Raises:
        ResultTooLarge: it does not fit into an item; such payloads belong into the blob store.
    """
    if payload.data is None:
        at = {} if payload.at is None else {"ka": payload.at}
        return {"k": payload.key, "sz": payload.size, **at}
    packed = deflated(payload.data)
    if len(packed) > PAYLOAD_BYTES:
        raise ResultTooLarge(
            f"a payload of {payload.size:,} bytes does not fit into an item of DynamoDB: it belongs into the blob store"
        )
    return {"p": packed, "sz": payload.size}


def payload_of(item: Item) -> Payload:
    """The payload as it was written."""
    if "k" in item:
        return Payload.blob(item["k"], item["sz"], item.get("ka"))
    try:
        data = inflated(item["p"], most=item["sz"])
    except zlib.error:
        data = b""  # it is damaged, and so has not its size: who loads it says of what session and bundle it was
    return Payload(data, None, item["sz"])


def deflated(data: bytes, dictionary: bytes = b"") -> bytes:
    """Compressed if that is shorter; a first byte tells."""
    if len(data) >= _DEFLATE_FROM_BYTES:
        packer = zlib.compressobj(1, wbits=-15, zdict=dictionary) if dictionary else zlib.compressobj(1, wbits=-15)
        packed = packer.compress(data) + packer.flush()
        if len(packed) < len(data):
            return b"\1" + packed
    return b"\0" + data


def inflated(data: bytes, dictionary: bytes = b"", *, most: int = MOST_INFLATED_BYTES) -> bytes:
    """What was given to ``deflated``.

    Args:
        most: bytes that it has at most; what grows beyond that is not what was written, and is given up there.

    Raises:
        zlib.error: it is damaged.
    """
    if data[:1] == b"\0":
        return data[1:]
    unpacker = zlib.decompressobj(wbits=-15, zdict=dictionary) if dictionary else zlib.decompressobj(wbits=-15)
    found = unpacker.decompress(data[1:], most + 1)
    if len(found) > most:
        raise zlib.error(f"it inflates to more than {most:,} bytes")
    return found
