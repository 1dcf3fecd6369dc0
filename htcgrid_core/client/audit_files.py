"""Exports of the audit: whether one is as its grid wrote it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import orjson

from htcgrid_core.domain.audit import EXPORT_FORM
from htcgrid_core.domain.errors import InvalidInput, SignatureInvalid
from htcgrid_core.gateway.protocol import Gateway


def verified(gateway: Gateway, lines: Iterable[bytes]) -> int:
    """How many entries an export has, which the grid has written just so.

    Args:
        lines: of the file, each with its end.

    Raises:
        InvalidInput: it is no export, or its end is missing; or the grid does not have its key any more.
        SignatureInvalid: something in it was changed, added, moved or taken away.
    """
    digest, last, count = hashlib.sha256(), b"", 0
    for line in lines:
        if count == 0 and _said(line).get("form") != EXPORT_FORM:
            raise InvalidInput(f"its first line does not say {EXPORT_FORM}: it is no export of an audit")
        digest.update(last)
        last, count = line, count + 1
    said, found = _said(last), digest.hexdigest()
    if not all(isinstance(said.get(name), str) for name in ("key", "sha256", "hmac")) or not last.endswith(b"\n"):
        raise InvalidInput("its last line is no signature: its end is missing, or it is no export of an audit")
    if said["sha256"] != found or said.get("entries") != count - 2:
        raise SignatureInvalid("the export is not as it was written: its last line sums up other lines")
    if not gateway.is_genuine_audit(said["key"], found, said["hmac"]):
        raise SignatureInvalid("this grid has not written the export: its last line is not signed with the grid's key")
    return count - 2


def _said(line: bytes) -> dict[str, Any]:
    try:
        said = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}
