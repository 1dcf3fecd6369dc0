"""Results of deployed handlers are encoded as AWS's client for Python does it, which is asked."""

from __future__ import annotations

import enum
import json
import math
from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from awslambdaric.lambda_runtime_exception import FaultException
from awslambdaric.lambda_runtime_marshaller import LambdaMarshaller
from hypothesis import given
from hypothesis import strategies as st

from htcgrid_core.codecs.lambda_results import encode_result, encode_result_frugally
from htcgrid_core.codecs.values import decode_json, encode_json


class Side(enum.Enum):
    BUY = "buy"


class Rank(enum.IntEnum):
    FIRST = 1


class Desk(enum.StrEnum):
    RATES = "rates"


class Loud(str):
    def __str__(self) -> str:
        return "LOUD"

    __repr__ = __str__


class Odd(int):
    def __repr__(self) -> str:
        return "odd"

    __str__ = __repr__


class Half(float):
    def __repr__(self) -> str:
        return "half"


class Point(NamedTuple):
    x: int
    y: Any


class Asdict:
    def _asdict(self) -> dict[str, int]:
        return {"a": 1}


class NeedsMore:
    def _asdict(self, how: str) -> dict[str, int]:
        return {"a": 1}


class AsdictOfNothing:
    def _asdict(self) -> list[int]:
        return [1]


class DictWithAsdict(dict[str, int]):
    def _asdict(self) -> dict[str, int]:
        return {"own": 1}


@dataclass
class Trade:
    notional: int


Pair = namedtuple("Pair", "a b")

ODD: list[Any] = [
    Side.BUY, Rank.FIRST, Desk.RATES, Loud("quiet"), Odd(7), Half(0.5), Point(1, Point(2, None)), Pair(1, [Pair(2, 3)]),
    Asdict(), NeedsMore(), AsdictOfNothing(), DictWithAsdict(a=2), Trade(1), OrderedDict(a=1), defaultdict(int, b=2),
    Decimal("1.10"), Decimal("1E+3"), Decimal("-0"), Decimal("NaN"), Decimal("-NaN"), Decimal("sNaN"),
    Decimal("Infinity"),
    Decimal("1E+400"), Decimal("0.1000000000000000055511151231257827"), b"text", "ünïcödé ☃".encode(), b"\xff", b"",
    bytearray(b"x"), memoryview(b"x"), {1, 2}, frozenset(), date(2026, 11, 29), UUID(int=7), complex(1, 2), object(),
    print,
    range(3), (1, 2), [], {}, "\ud800", "null", 2**70, -(2**63), 0.1 + 0.2, 1e16, 1e-7, math.nan, math.inf, -math.inf,
    True,
    None, {2: 1, 2.5: 2, None: 3, True: 4, "a": 5}, {b"a": 1}, {b"\xff": 1}, {Rank.FIRST: 1}, {Desk.RATES: 1},
    {Side.BUY: 1},
    {(1, 2): 3}, {Decimal(1): 1}, {math.nan: 1}, {math.inf: 1}, {"a": 1, b"a": 2}, SimpleNamespace(a=1), Exception("x"),
    iter([1]), {}.keys(), Point, type, lambda: 1, "\ud83d\ude80", "\ud83d", {"\ude80\ud83d": "\ud83d\ude80 🚀"},
]  # fmt: skip


def as_lambda(value: Any) -> Any:
    """What Lambda hands to whoever invoked: the text, or the fault."""
    try:
        body, _ = LambdaMarshaller().marshal_response(value)
    except FaultException:
        return FaultException
    return body


def ours(encode: Any, value: Any) -> Any:
    try:
        return encode(value)
    except (TypeError, ValueError):
        return FaultException


def digits(text: str) -> str:
    """All that is written, each number with its digits."""
    return repr(json.loads(text, parse_float=lambda number: repr(Decimal(number))))


def check(value: Any) -> None:
    expected = as_lambda(value)
    for encode in (encode_result, encode_result_frugally):
        found = ours(encode, value)
        if expected is FaultException:
            assert found is FaultException
            continue
        assert found is not FaultException
        written, meant = decode_json(found), json.loads(expected)
        assert repr(written) == repr(meant)
        assert digits(found.decode("utf-8", "surrogatepass")) == digits(expected)


@pytest.mark.parametrize("value", ODD, ids=lambda value: f"{type(value).__name__}-{value!r}"[:40])
def test_odd_values(value: Any) -> None:
    for inside in (value, [value], (value, None), {"a": value}, {"a": [1, {"b": value, "c": None}]}, Point(1, value)):
        if isinstance(inside, bytes):
            continue  # the whole result: see below
        check(inside)


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.decimals(), st.binary(max_size=4),
    st.sampled_from([Side.BUY, Rank.FIRST, Desk.RATES, UUID(int=7), date(2026, 11, 29)]),
)  # fmt: skip
KEYS = st.one_of(st.text(max_size=3), st.integers(), st.none(), st.booleans(), st.floats(), st.binary(max_size=2))
VALUES = st.recursive(
    SCALARS,
    lambda inside: st.one_of(
        st.lists(inside, max_size=4),
        st.tuples(inside, inside),
        st.dictionaries(KEYS, inside, max_size=4),
        st.builds(Point, st.integers(), inside),
    ),
    max_leaves=12,
)


@given(VALUES.filter(lambda value: not isinstance(value, bytes)))
def test_any_values(value: Any) -> None:
    check(value)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False), st.text()),
    lambda inside: st.one_of(st.lists(inside, max_size=4), st.dictionaries(st.text(max_size=3), inside, max_size=4)),
)


@given(JSON)
def test_plain_json_is_what_it_was(value: Any) -> None:
    """A version that is deployed again finds the results that it had, of what both encodings take."""
    assert repr(decode_json(encode_result(value))) == repr(decode_json(encode_json(value)))


@pytest.mark.parametrize("data", [b'{"a": 1.10}', b" [1]\n", b"1E+3", b"NaN", b'"\xc3\xbc"'])
def test_bytes_are_json_already(data: bytes) -> None:
    """AWS's client posts them as they are."""
    assert as_lambda(data) == data
    for encode in (encode_result, encode_result_frugally):
        assert encode(data).strip() == data.strip()


@pytest.mark.parametrize("data", [b"", b"text", b"\xff", b"[1"])
def test_bytes_that_are_not(data: bytes) -> None:
    for encode in (encode_result, encode_result_frugally):
        with pytest.raises(ValueError, match="taken for JSON"):
            encode(data)


def test_what_contains_itself_is_refused() -> None:
    endless: list[Any] = [Decimal(1)]
    endless.append(endless)
    with pytest.raises(RecursionError):
        encode_result(endless)
