"""Files and source lines of code that is sent by value: in no pickle that a token compares, and in every traceback."""

from __future__ import annotations

import json
import linecache
import pickle
import traceback
from collections import ChainMap
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

import pytest

from htcgrid_core.codecs import by_value, source_lines
from htcgrid_core.codecs.by_value import pickle_by_value, pickle_function
from htcgrid_core.codecs.source_lines import FILENAME, load_function

CELL = """
class Book:
    @staticmethod
    def value(trade):
        return 1 / trade


def price(trade):
    def discounted():
        return [Book.value(each) for each in (trade,)]

    return discounted()
"""
LEFT_OUT = "<dynamic-code>"


@pytest.fixture
def cell() -> Iterator[Callable[..., Callable[..., Any]]]:
    """Define ``price`` as a notebook does, in a file that is nowhere but in linecache."""
    names = []

    def defined(name: str, text: str = CELL) -> Callable[..., Any]:
        names.append(name)
        linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
        found: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(text, name, "exec"), found)
        price: Callable[..., Any] = found["price"]
        return price

    yield defined
    for name in names:
        linecache.cache.pop(name, None)


def traceback_of(function: Callable[..., Any]) -> str:
    with pytest.raises(ZeroDivisionError) as caught:
        function(0)
    return "".join(traceback.format_exception(caught.value))


def sent(function: Callable[..., Any]) -> tuple[bytes, bytes]:
    """As a client sends it; the receiver has no such file."""
    pickled, packed = pickle_function(function)
    linecache.cache.pop(function.__code__.co_filename, None)
    return pickled, packed


@pytest.fixture(params=["as cloudpickle has it", "as cloudpickle 3.1.3 has it"])
def any_cloudpickle(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "3.1.3" in request.param:
        reduce = by_value._Pickler.dispatch_table[CodeType]

        def without_file(code: CodeType) -> Any:
            make, parts = reduce(code)
            return make, (*parts[:FILENAME], LEFT_OUT, *parts[FILENAME + 1 :])

        table = ChainMap({CodeType: without_file}, by_value._Pickler.dispatch_table)
        monkeypatch.setattr(by_value._Pickler, "dispatch_table", table)


@pytest.mark.usefixtures("any_cloudpickle")
def test_a_traceback_has_file_and_line(cell: Callable[..., Callable[..., Any]]) -> None:
    pickled, packed = sent(cell("/notebooks/ipykernel_1/22.py"))
    told = traceback_of(load_function(pickled, packed))
    for line, text in ((10, "return [Book.value(each) for each in (trade,)]"), (5, "return 1 / trade")):
        assert f'File "/notebooks/ipykernel_1/22.py", line {line}' in told
        assert text in told
    assert LEFT_OUT not in told


@pytest.mark.usefixtures("any_cloudpickle")
def test_the_pickle_is_the_same_wherever_its_file_lies(cell: Callable[..., Callable[..., Any]]) -> None:
    text = CELL.replace("class Book:", "def book():").replace("Book.value", "book")  # cloudpickle draws ids for classes
    (first, names), (second, other_names) = (sent(cell(name, text)) for name in ("/notebooks/1.py", "/elsewhere/2.py"))
    assert first == second
    assert names != other_names
    assert b"/notebooks" not in first


@pytest.mark.usefixtures("any_cloudpickle")
def test_what_is_pickled_within_an_event_keeps_the_name_of_its_file(cell: Callable[..., Callable[..., Any]]) -> None:
    pickled = pickle_by_value({"price": cell("/notebooks/1.py")})
    assert 'File "/notebooks/1.py", line 5' in traceback_of(pickle.loads(pickled)["price"])


def test_only_lines_of_what_is_sent_go_along(cell: Callable[..., Callable[..., Any]]) -> None:
    secret = "PASSWORD = 'hunter2'\n"
    _, packed = sent(cell("/notebooks/1.py", secret + CELL + secret))
    assert b"return 1 / trade" in packed
    assert b"hunter2" not in packed


def test_a_function_that_goes_by_name_has_none() -> None:
    assert pickle_function(traceback_of)[1] == b""


def test_what_is_too_long_goes_without_its_lines(cell: Callable[..., Callable[..., Any]]) -> None:
    filler = "".join(f"    number_{n} = {n}\n" for n in range(source_lines.MAX_SOURCE_BYTES // 16))
    pickled, packed = sent(cell("/notebooks/1.py", CELL.replace("    def discounted", f"{filler}    def discounted")))
    assert len(packed) < source_lines.MAX_SOURCE_BYTES
    assert 'File "/notebooks/1.py", line' in traceback_of(load_function(pickled, packed))


def test_names_that_are_not_utf8(cell: Callable[..., Callable[..., Any]]) -> None:
    pickled, packed = sent(cell("/notebooks/caf\udce9.py"))
    assert "caf\udce9.py" in traceback_of(load_function(pickled, packed))


def test_lines_that_the_receiver_has_itself_stay_known(tmp_path: Any) -> None:
    """Of a file that is there, other functions may be in tracebacks."""
    path = tmp_path / "script.py"
    path.write_text(CELL + "\n\ndef other():\n    raise ValueError\n")
    found: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(path.read_text(), str(path), "exec"), found)
    load_function(*pickle_function(found["price"]))
    assert linecache.getline(str(path), 5).strip() == "return 1 / trade"
    assert linecache.getline(str(path), 16).strip() == "raise ValueError"
    linecache.cache.pop(str(path))


def test_one_long_function_leaves_room_for_others(cell: Callable[..., Callable[..., Any]]) -> None:
    lines = source_lines.SourceLines()
    filler = "    '" + "\u00e9" * (source_lines.MAX_SOURCE_BYTES // 2) + "'\n"  # which is too long in bytes alone
    lines.mark_of(cell("/notebooks/1.py", CELL.replace("    def discounted", f"{filler}    def discounted")).__code__)
    lines.mark_of(cell("/notebooks/2.py").__code__)
    (_, long), (_, short) = json.loads(lines.packed())
    assert long == []
    assert len(short) == 1
