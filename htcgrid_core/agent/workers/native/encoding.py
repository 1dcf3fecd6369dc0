"""How a worker encodes what a function returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from htcgrid_core.codecs.buffers import Data
from htcgrid_core.codecs.lambda_results import encode_result, encode_result_frugally
from htcgrid_core.codecs.mapped import in_place
from htcgrid_core.codecs.values import ENCODERS, encode_json_frugally, has_long_text, pickle_parts

Encoder = Callable[[Any], Data]


def encoder_of(spec: dict[str, Any]) -> Encoder:
    """That of the function that a FUNCTION message names."""
    if spec["codec"] != "json":
        return _pickled
    is_lambdas = spec["encoding"] == "lambda"
    usual, frugal = (encode_result, encode_result_frugally) if is_lambdas else (ENCODERS["json"], encode_json_frugally)
    if not spec["memory_mb"]:
        return usual
    return lambda result: (frugal if has_long_text(result) else usual)(result)


def _pickled(result: Any) -> Data:
    return in_place(pickle_parts(result))
