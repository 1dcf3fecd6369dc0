"""Values to bytes and back: Python's dialect of JSON, and pickle by value where it must be."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import textwrap
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from htcgrid_core.codecs.values import (
    decode_json,
    decode_pickle,
    encode_json,
    encode_json_frugally,
    encode_pickle,
    has_long_text,
)

anything = st.characters(codec=None)  # lone surrogates too
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**53, 2**70)
    | st.floats()
    | st.text(anything)
    | st.sampled_from(["null", "NaN", "", "\x00", "\ud800", "é", "\U0001f600"])
)
keys = st.text(anything) | st.integers() | st.booleans() | st.none() | st.floats()
values: st.SearchStrategy[Any] = st.recursive(
    leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(anything), inner), max_leaves=30
)
Point = namedtuple("Point", "x y")


class Level(IntEnum):
    LOW = 1


class Currency(StrEnum):
    EUR = "EUR"


class Side(Enum):
    BUY = 1
    SELL = "sell"
    NEITHER = math.inf


class Desk(Enum):
    RATES = UUID(int=1)
    SINCE = date(2026, 1, 2)


class Rights(Flag):
    READ = 1


@dataclass
class Trade:
    notional: float


ID = UUID("01234567-89ab-cdef-0123-456789abcdef")
# What sends a value to the standard library: a None, a NaN, that word in a text, large integers, keys of other kinds.
NEIGHBOURS: list[Any] = [1, None, math.nan, "null", 2**64, {1: 2}, "\ud800", str(ID), -1, "2026-01-02"]


def same(one: Any, other: Any) -> bool:
    """Equal, and NaN is NaN; 1 is not 1.0 and not True."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(other)) or (
            one == other and math.copysign(1, one) == math.copysign(1, other)
        )
    return bool(one == other)


class TestJson:
    @settings(max_examples=500)
    @given(values)
    def test_comes_back_exactly(self, value: Any) -> None:
        """Every integer, NaN, infinity, negative zero and lone surrogate."""
        assert same(decode_json(encode_json(value)), value)

    @given(st.dictionaries(keys, leaves | st.tuples(leaves), max_size=5))
    def test_is_what_pythons_own_json_makes_of_it(self, value: Any) -> None:
        """Keys become text and tuples lists, as in Lambda's Python runtime."""
        assert same(decode_json(encode_json(value)), json.loads(json.dumps(value)))

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ((1, (2,)), [1, [2]]),
            (Point(1, 2), [1, 2]),
            (Level.LOW, 1),
            ({Level.LOW: 1}, {"1": 1}),
            ({2: 2, None: 3, True: 4}, {"2": 2, "null": 3, "true": 4}),
            (2**64, 2**64),
            (-(2**200), -(2**200)),
            ([2**53 + 1, 2**63, 2**64 - 1], [2**53 + 1, 2**63, 2**64 - 1]),
            (1e400, math.inf),
            (-0.0, -0.0),
            ("null", "null"),
        ],
    )
    def test_special_values(self, value: Any, expected: Any) -> None:
        found = decode_json(encode_json(value))
        assert same(found, expected)

    def test_not_a_number(self) -> None:
        (found, inner) = decode_json(encode_json([math.nan, {"x": [-math.inf, None]}]))
        assert math.isnan(found)
        assert inner == {"x": [-math.inf, None]}

    def test_deep_nesting(self) -> None:
        """As deep as Python itself goes, which is deeper than fast encoders do."""
        value: Any = 1
        for _ in range(500):
            value = [value]
        assert decode_json(encode_json(value)) == value

    @pytest.mark.parametrize(
        "value", [object(), {1, 2}, b"bytes", {(1, 2): 3}, 1j, [lambda: None], Path("x"), {"x": {"y": Exception()}}]
    )
    def test_what_is_not_json(self, value: Any) -> None:
        with pytest.raises(TypeError):
            encode_json(value)

    @pytest.mark.parametrize("beside", NEIGHBOURS, ids=ascii)
    @pytest.mark.parametrize(
        "value",
        [
            ID, Desk.RATES, Desk.SINCE, date(2026, 1, 2), datetime(2026, 1, 2), time(1), Decimal("1.5"), Trade(1.0),
            {"legs": ({"id": ID},)}, OrderedDict(id=ID), {"id": Desk.RATES},
        ],
        ids=repr,
    )  # fmt: skip
    def test_is_refused_whatever_stands_beside_it(self, value: Any, beside: Any) -> None:
        """Faster encoders know more types than Python's JSON: a UUID was an event, but not beside a None."""
        with pytest.raises(TypeError, match="is not JSON"):
            encode_json([beside, value])
        with pytest.raises(TypeError, match="is not JSON"):
            encode_json_frugally({"x": value, "y": beside})

    @pytest.mark.parametrize("beside", NEIGHBOURS, ids=ascii)
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (Level.LOW, 1), (Currency.EUR, "EUR"), (Side.BUY, 1), (Side.SELL, "sell"), (Side.NEITHER, math.inf),
            (Rights.READ, 1), ({Currency.EUR: Side.BUY}, {"EUR": 1}), (str(ID), str(ID)), ([str(ID)], [str(ID)]),
            (orjson.Fragment(b'{"a": NaN}'), {"a": math.nan}),
        ],
        ids=repr,
    )  # fmt: skip
    def test_is_taken_whatever_stands_beside_it(self, value: Any, expected: Any, beside: Any) -> None:
        assert same(decode_json(encode_json([value, beside]))[0], expected)
        assert same(decode_json(encode_json_frugally(value)), expected)

    def test_endless(self) -> None:
        value: list[Any] = []
        value.append(value)
        with pytest.raises((ValueError, RecursionError)):
            encode_json(value)

    @pytest.mark.parametrize("data", [b"", b"{", b"nul", b"[1,]", b"\xff\xfe", b" ", b"1 2"])
    def test_bytes_that_are_not_json(self, data: bytes) -> None:
        with pytest.raises(ValueError):  # noqa: PT011 - the words are the json module's
            decode_json(data)

    @pytest.mark.parametrize("text", ['{"a": [1, 2.5, "x"]}', "NaN", " [1]\n", '"\\ud800"', "1e3"])
    def test_json_written_by_others(self, text: str) -> None:
        assert same(decode_json(text.encode()), json.loads(text)) or text == "NaN"


class TestPickle:
    @given(values | st.binary() | st.sets(st.integers()))
    def test_comes_back(self, value: Any) -> None:
        found = decode_pickle(encode_pickle(value))
        assert same(found, value) if not isinstance(value, bytes | set) else found == value

    def test_local_things_go_by_value(self) -> None:
        offset = 40

        class Local:
            def __call__(self, x: int) -> int:
                return x + offset

        assert decode_pickle(encode_pickle(lambda x: x + offset))(2) == 42
        assert decode_pickle(encode_pickle(Local()))(2) == 42

    def test_importable_things_go_by_reference(self) -> None:
        assert decode_pickle(encode_pickle(math.sqrt)) is math.sqrt
        assert len(encode_pickle(math.sqrt)) < 100

    def test_what_a_script_defines_goes_by_value(self, tmp_path: Path) -> None:
        """A receiver's ``__main__`` is another: classes, functions and instances of the sender's arrive whole."""
        (tmp_path / "sender.py").write_text(
            textwrap.dedent(
                """
                import sys
                from dataclasses import dataclass
                from htcgrid_core.codecs.values import encode_pickle
                @dataclass
                class Trade:
                    notional: int
                def double(trade):
                    return Trade(2 * trade.notional)
                sys.stdout.buffer.write(encode_pickle({"trade": Trade(21), "function": double}))
                """
            )
        )
        receiver = textwrap.dedent(
            """
            import sys
            from htcgrid_core.codecs.values import decode_pickle
            found = decode_pickle(sys.stdin.buffer.read())
            print(found["function"](found["trade"]))
            """
        )
        sent = subprocess.run([sys.executable, "sender.py"], cwd=tmp_path, capture_output=True, check=True, timeout=60)
        got = subprocess.run(
            [sys.executable, "-c", receiver], input=sent.stdout, capture_output=True, check=True, timeout=60
        )
        assert got.stdout.decode().strip() == "Trade(notional=42)"

    def test_what_cannot_be_pickled(self) -> None:
        import threading

        with pytest.raises(TypeError):
            encode_pickle(threading.Lock())


def test_long_texts_are_encoded_in_little_memory() -> None:
    """Where a worker's memory is limited: what orjson reserves for them is eight times as much."""
    text = "ünïcödé" * 200_000
    long: list[Any] = [text, [text], {"price": 1, "log": {"text": text}}, ["a", text]]
    for value in long:
        assert has_long_text(value)
        assert decode_json(encode_json_frugally(value)) == decode_json(encode_json(value))
    short: list[Any] = ["short", ["short"] * 1000, {"n": 1}, None, 2**70, [[["deep"]]]]
    assert not any(has_long_text(value) for value in short)
