"""Events of Python's JSON, as readers in other languages take them."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from htcgrid_core.codecs import strict_json
from htcgrid_core.codecs.values import encode_json

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=[]))  # lone surrogates too


@given(value=st.recursive(ANY_TEXT | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner)))
def test_what_is_escaped_is_the_same_value_in_valid_utf_8(value: object) -> None:
    told = strict_json.escaped(encode_json(value))
    read = json.loads(told.decode("utf-8"))
    assert json.dumps(read) == json.dumps(value), "a pair of escapes is one character, however it was written"


def test_valid_text_with_the_same_first_byte_stays() -> None:
    data = encode_json("\ud7ff\uf8ff" + "힣")
    assert b"\xed" in data
    assert strict_json.escaped(data) is data or strict_json.escaped(data) == data


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (math.nan, "NaN"), ([1, -math.inf], "-Infinity"), ({"a": {"b": math.inf}}, "Infinity"),
        ("NaN", ""), ({"Infinity": [1.5, None]}, ""), (1.0, ""), (["\ud800", math.nan], "NaN"),
    ],
)  # fmt: skip
def test_constants_that_json_does_not_have(value: object, found: str) -> None:
    assert strict_json.constant_in(encode_json(value)) == found


def test_what_is_not_json_is_for_others_to_say() -> None:
    assert strict_json.constant_in(b"[" * 100_000 + b"NaN") == ""
