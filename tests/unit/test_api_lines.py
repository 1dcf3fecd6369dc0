"""Events as lines: in memory that their size bounds."""

from __future__ import annotations

import tracemalloc

import pytest

from htcgrid_core.api import lines
from htcgrid_core.api.failure import Failure
from htcgrid_core.api.lines import PART_EVENTS, events_of_lines, events_of_values
from htcgrid_core.codecs.shared import MARK
from htcgrid_core.domain.errors import InvalidEvent, InvalidInput

REFERENCE = b'{"%s":"%s","codec":"json"}' % (MARK.encode(), b"a" * 64)


def test_lines_are_events_and_empty_ones_are_none() -> None:
    shared = (REFERENCE, (f"{'a' * 64}.json",))
    assert list(events_of_lines(b"1\n\n \t\r\n2\r\n" + REFERENCE)) == [b"1", b"2", shared]
    assert list(events_of_lines(b"1\n")) == [b"1"]
    assert list(events_of_lines(b"")) == []


def test_short_lines_take_no_more_memory_than_their_body() -> None:
    body = b"\n" * 100_000
    tracemalloc.start()
    assert list(events_of_lines(body)) == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(body)


def test_a_part_has_so_many_events(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(list(events_of_lines(b"1\n" * PART_EVENTS + b"\n\n"))) == PART_EVENTS
    monkeypatch.setattr(lines, "PART_EVENTS", 2)
    with pytest.raises(InvalidInput, match="at most 2 events"):
        list(events_of_lines(b"1\n2\n3"))


def test_what_is_nested_too_deep_is_malformed() -> None:
    deep = b"[" * 1000 + REFERENCE + b"]" * 1000
    with pytest.raises(Failure) as caught:
        list(events_of_lines(b"1\n" + deep))
    assert (caught.value.problem.kind.code, caught.value.problem.members["line"]) == ("malformed", 2)
    value: object = {MARK: "0" * 64, "codec": "json"}
    for _ in range(2000):
        value = [value]
    with pytest.raises(InvalidEvent):
        events_of_values([value])
