"""Exceptions of tasks on their way to whoever waits: loaded as what they were, or not at all."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from htcgrid_core.codecs.exceptions import decode_exception, encode_exception
from htcgrid_core.codecs.outcomes import decode_error, encode_error
from htcgrid_core.domain.task_error import TaskError


class Coded(Exception):
    """Passes on another text than it is made with."""

    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class OfTwo(Exception):
    """Passes on fewer arguments than it is made with."""

    def __init__(self, left: int, right: int) -> None:
        super().__init__("both")
        self.left, self.right = left, right


class Named(Exception):
    """Takes only arguments by name, and has a text of its own."""

    def __init__(self, *, code: int) -> None:
        self.code = code

    def __str__(self) -> str:
        return f"named {self.code}"


class NoneAtAll(Exception):
    """Says that it is loaded as a text."""

    def __reduce__(self) -> tuple[Any, ...]:
        return str, ("a text",)


class Changing(Exception):
    """Has another text each time."""

    told = 0

    def __str__(self) -> str:
        Changing.told += 1
        return f"time {Changing.told}"


class Open(Exception):
    """Holds what cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("open")
        self.generator = (n for n in range(1))


@pytest.mark.parametrize("error", [ValueError("plain"), Coded(5), OfTwo(1, 2), Named(code=3), KeyError("key")])
def test_loaded_as_what_it_was(error: Exception) -> None:
    loaded = decode_exception(encode_exception(error))
    assert type(loaded) is type(error)
    assert str(loaded) == str(error)
    assert loaded.__dict__ == error.__dict__


@pytest.mark.parametrize("error", [Changing(), Open()])
def test_what_would_be_loaded_as_something_else_is_not_sent(error: Exception) -> None:
    assert encode_exception(error) == b""


def test_what_says_that_it_is_something_else_is_sent_as_an_exception() -> None:
    assert type(decode_exception(encode_exception(NoneAtAll("kept")))) is NoneAtAll


@pytest.mark.parametrize("pickled", [b"", b"nonsense", b"cno_such_module\nNothing\n)R.", b"\x80\x04K\x01."])
def test_what_cannot_be_loaded_leaves_the_text(pickled: bytes) -> None:
    told = TaskError("Coded", "code 5", "a traceback")
    assert decode_error(encode_error(told, pickled), signed=True) == told
    body = {**json.loads(encode_error(told)), "exception": base64.b64encode(pickled).decode()[1:] or 7}
    assert decode_error(json.dumps(body).encode(), signed=True) == told
