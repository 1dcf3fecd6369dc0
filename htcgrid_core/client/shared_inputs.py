"""Inputs that are stored once for many tasks."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any, Literal

from htcgrid_core.codecs.buffers import Data
from htcgrid_core.codecs.folders import archived
from htcgrid_core.codecs.mapped import in_place
from htcgrid_core.codecs.shared import FOLDER, SharedInput
from htcgrid_core.codecs.values import PLAIN, encode_json, pickle_parts
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.gateway.protocol import Gateway


def put(gateway: Gateway, value: Any, codec: Literal["json", "pickle"] | None) -> SharedInput:
    """Encode and store; see ``Grid.put``."""
    if isinstance(value, PurePath) and codec is None:
        return _put_path(gateway, Path(value))
    if isinstance(value, bytes) and codec is None:
        return gateway.put(value, "bytes")
    if codec is None and _is_json(value):
        try:
            return gateway.put(_encoded(value, "json"), "json")
        except InvalidInput:  # it holds itself
            pass
    if codec == "json":
        return gateway.put(_encoded(value, codec), codec)
    return gateway.put(in_place(_encoded(value, "pickle")), "pickle")


def _put_path(gateway: Gateway, path: Path) -> SharedInput:
    if not path.is_dir():
        return gateway.put_file(path)
    with archived(path) as archive:
        return SharedInput(gateway.put_file(archive).digest, FOLDER)


def _is_json(value: Any) -> bool:
    """Whether JSON gives back the same: no tuple as a list, no number that is a key as a text, no subclass as less."""
    open_values, seen = [value], set[int]()
    while open_values:
        one = open_values.pop()
        kind = type(one)
        if kind in PLAIN:
            continue
        if kind not in (dict, list):
            return False
        if id(one) in seen:
            continue
        seen.add(id(one))
        if kind is dict:
            if not all(type(name) is str for name in one):
                return False
            open_values += one.values()
        else:
            open_values += one
    return True


def _encoded(value: Any, codec: str) -> Data:
    try:
        return pickle_parts(value) if codec == "pickle" else encode_json(value)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the value's own encoding raises
        raise InvalidInput(f"a {type(value).__name__} cannot be stored as {codec}: {error}") from error
