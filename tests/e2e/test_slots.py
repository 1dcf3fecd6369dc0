"""Classes with ``__slots__`` that stand in the script that is run: they come back as what they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.support import run_script

SCRIPT = """
import sys
from abc import ABC
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from htcgrid_core import RetryPolicy, connect

T = TypeVar("T")

@dataclass(slots=True)
class Trade:
    notional: float
    legs: list[float] = field(default_factory=list)
    desk: str = "rates"

    def doubled(self):
        return type(self)(2 * self.notional, [2 * leg for leg in self.legs])

@dataclass(slots=True, frozen=True, order=True)
class Frozen:
    notional: float

    def doubled(self):
        return Frozen(2 * self.notional)

class Plain:
    __slots__ = ("a", "b")

    def __init__(self, a):
        self.a = a

    def __eq__(self, other):
        return (self.a, hasattr(self, "b")) == (other.a, hasattr(other, "b"))

    def doubled(self):
        return Plain(2 * self.a)

class Inherits(Trade):
    __slots__ = "extra"

class Open(Trade):
    \"\"\"Without slots of its own: it has a __dict__.\"\"\"

    def doubled(self):
        made = Open(2 * self.notional)
        made.anything = self.anything
        return made

class Both:
    __slots__ = {"a": "documented", "__dict__": "and more", "__weakref__": ""}

    def __init__(self, a):
        self.a, self.more = a, 1

    def __eq__(self, other):
        return (self.a, self.more) == (other.a, other.more)

    def doubled(self):
        return Both(2 * self.a)

class Base(ABC, Generic[T]):
    __slots__ = ()

class Derived(Base[float]):
    __slots__ = ("a",)

    def __init__(self, a):
        self.a = a

    def __eq__(self, other):
        return self.a == other.a

    def doubled(self):
        return Derived(2 * self.a)

class Refused(Exception):
    __slots__ = ("code",)

def doubled(value):
    if not isinstance(value, (Open, Both)):
        assert not hasattr(value, "__dict__"), "it has slots there, too"
        try:
            value.misspelt = 1
        except (AttributeError, TypeError):  # TypeError of frozen ones, in CPython 3.11
            pass
        else:
            raise AssertionError("a misspelt attribute was taken")
    return value.doubled()

def refuse(_):
    raise Refused("no")

if __name__ == "__main__":
    inherits, opened = Inherits(3.0), Open(1.0)
    inherits.extra, opened.anything = 1, [1]
    values = [Trade(1.0, [2.0]), Frozen(1.0), Plain(1), inherits, opened, Both(2), Derived(2.0)]
    wanted = [value.doubled() for value in values]
    once = RetryPolicy(max_attempts=1)
    with connect(sys.argv[1]) as grid:
        for name, found in (
            ("submit", grid.submit(doubled, values, retry=once).results()),
            ("map", grid.map(doubled, values)),
            ("executor", grid.executor().map(doubled, values)),
        ):
            found = list(found)
            assert found == wanted, (name, found)
            assert [type(value) for value in found] == [type(value) for value in values], name
        assert list(grid.map(lambda value: [value.doubled()], [Trade(1.0)])) == [[Trade(2.0)]]
        try:
            list(grid.map(refuse, [1]))
        except Refused as error:
            assert error.args == ("no",)
    print("done")
"""


@pytest.mark.parametrize("start", ["", "from __future__ import annotations\n"], ids=["types", "texts"])
def test_they_come_back_as_what_they_are(url: str, tmp_path: Path, start: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(start + SCRIPT)
    done = run_script(script, url)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
