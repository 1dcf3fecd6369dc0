"""References to shared inputs: noted where they are encoded, replaced where the task runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from htcgrid_core.codecs import shared
from htcgrid_core.codecs.shared import MARK, SharedInput, noting, resolve_with, resolved
from htcgrid_core.codecs.values import decode_json, decode_pickle, encode_json, encode_pickle

MARKET, CURVE = SharedInput("a" * 64, "json"), SharedInput("b" * 64, "bytes")

references = st.sampled_from([MARKET, CURVE])
events: st.SearchStrategy[Any] = st.recursive(
    references | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@pytest.fixture
def worker() -> Iterator[None]:
    """As in a worker: references become ``("value of", digest)``."""
    resolve_with(lambda reference: ("value of", reference.digest))
    yield
    shared._resolver = None


def replaced(value: Any) -> Any:
    """What a task should see."""
    if isinstance(value, SharedInput):
        return ("value of", value.digest)
    if isinstance(value, dict):
        return {key: replaced(item) for key, item in value.items()}
    if isinstance(value, list):
        return [replaced(item) for item in value]
    return value


def held(value: Any) -> set[str]:
    """The references in a value."""
    if isinstance(value, SharedInput):
        return {f"{value.digest}.{value.codec}"}
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return set().union(*map(held, inner))


@given(events)
def test_json(worker: None, event: Any) -> None:
    with noting() as noted:
        data = encode_json(event)
    assert noted == held(event)
    assert resolved(decode_json(data)) == replaced(event)


@given(events)
def test_pickle(worker: None, event: Any) -> None:
    with noting() as noted:
        data = encode_pickle(event)
    assert noted == held(event)
    assert decode_pickle(data) == replaced(event)


def test_a_client_gets_its_reference_back() -> None:
    """Where nothing resolves, a reference stays one: an event can be read again and resubmitted."""
    assert decode_pickle(encode_pickle([MARKET])) == [MARKET]
    assert resolved(decode_json(encode_json([MARKET]))) == [MARKET]


def test_only_within_the_noting() -> None:
    encode_json(MARKET)
    with noting() as outer:
        encode_json(MARKET)
        with noting() as inner:
            encode_json(CURVE)
        encode_json(MARKET)
    assert (outer, inner) == ({f"{MARKET.digest}.json"}, {f"{CURVE.digest}.bytes"})


@pytest.mark.parametrize("event", [{MARK: "x"}, {MARK: "x", "codec": "json", "more": 1}, {"codec": "json"}, [MARK]])
def test_what_only_looks_like_a_reference(worker: None, event: Any) -> None:
    assert resolved(event) == event
