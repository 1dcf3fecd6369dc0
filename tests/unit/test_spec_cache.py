"""Specs that are known are used again only for those who ask for the very same."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import cloudpickle
import pytest

from htcgrid_core.client.callables import is_sent_by_name
from htcgrid_core.client.spec_cache import SPECS_KNOWN, SpecCache
from htcgrid_core.codecs.values import encode_pickle
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.session import SessionSpec


def there(event: Any) -> Any:
    return event


def spec(**options: Any) -> SessionSpec:
    return SessionSpec(function=FunctionSpec(name="module.handler"), **options)


def test_the_same_again_is_made_once() -> None:
    known = SpecCache()
    options = {"name": "book", "labels": {"desk": "rates"}, "max_failures": 1}
    first = known.spec("f", options, lambda: spec(**options))
    assert known.spec("f", dict(options), lambda: pytest.fail("made again")) is first
    assert known.spec("g", options, lambda: spec(**options)) is not first


@pytest.mark.parametrize("other", [True, 1.0, 2, "1", None])
def test_another_option_is_another_spec(other: Any) -> None:
    """Also one that Python calls equal: 1 is a count of failures, and no float is."""
    known = SpecCache()
    first = known.spec("f", {"max_failures": 1}, spec)
    assert known.spec("f", {"max_failures": other}, spec) is not first


def test_what_cannot_be_known_is_made_each_time() -> None:
    known = SpecCache()
    assert known.spec("f", {"labels": [[]]}, spec) is not known.spec("f", {"labels": [[]]}, spec)


def test_no_more_than_some_are_kept() -> None:
    known = SpecCache()
    for number in range(3 * SPECS_KNOWN):
        known.spec(number, {}, spec)
    assert len(known._specs) <= SPECS_KNOWN


def test_a_changed_copy_has_a_text_of_its_own() -> None:
    first = spec(name="one")
    assert SessionSpec.model_validate_json(first.text) == first
    second = first.model_copy(update={"name": "two"})
    assert SessionSpec.model_validate_json(second.text) == second != first


def test_sent_by_name_is_what_pickles_to_a_name() -> None:
    """Whatever is held to be sent by name pickles to the same few bytes again, without its code."""
    assert is_sent_by_name(there)
    assert b"co_" not in cloudpickle.dumps(there)
    inner: Callable[..., Any] = lambda event: event  # noqa: E731
    made = types.FunctionType(there.__code__, {}, "there")
    main = types.FunctionType(there.__code__, {"__name__": "__main__"}, "there")
    for function in (inner, made, main, len, print, SpecCache, SpecCache().spec):
        assert not is_sent_by_name(function)


def test_a_replaced_function_is_not_sent_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    before = there
    monkeypatch.setitem(globals(), "there", len)
    assert not is_sent_by_name(before)


def test_modules_registered_to_go_by_value() -> None:
    module = __import__(__name__, fromlist=["there"])
    cloudpickle.register_pickle_by_value(module)
    try:
        assert not is_sent_by_name(there)
        assert b"CodeType" in encode_pickle([there]), "also inside of an event, or of what is shared"
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    assert b"CodeType" not in encode_pickle([there])


def test_a_module_that_another_thread_is_still_loading_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", types.ModuleType("cloudpickle"))
    assert b"CodeType" not in encode_pickle([there])
