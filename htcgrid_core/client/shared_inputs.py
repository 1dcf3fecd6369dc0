"""Inputs that are stored once for many tasks."""

from __future__ import annotations

from typing import Any, Literal

from htcgrid_core.codecs.shared import SharedInput
from htcgrid_core.codecs.values import ENCODERS
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.gateway.protocol import Gateway


def put(gateway: Gateway, value: Any, codec: Literal["json", "pickle"] | None) -> SharedInput:
    """Encode and store; see ``Grid.put``."""
    kind = codec or ("bytes" if isinstance(value, bytes) else "json")
    try:
        data = bytes(value) if kind == "bytes" else ENCODERS[kind](value)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the value's own encoding raises
        hint = "" if kind == "pickle" else '; pass codec="pickle" for Python objects'
        raise InvalidInput(f"a {type(value).__name__} cannot be stored as {kind}: {error}{hint}") from error
    return gateway.put(data, kind)
