"""The files and source lines of code that is sent by value: beside it, so that it is the same wherever its file lies.

In the pickle of a function each file is a mark. Whoever loads it puts the names back, and gives the lines to
``linecache``, by which tracebacks find them also where the file is not: of a notebook's cell, or on another machine.
"""

from __future__ import annotations

import io
import json
import linecache
import pickle
from collections.abc import Callable, Mapping
from functools import partial
from types import CodeType
from typing import Any, Final

MAX_SOURCE_BYTES: Final = 64 << 10  # of the lines of one function, and what it brings along
FILENAME: Final = 10  # which argument of CodeType it is, and so of its pickle by cloudpickle
NO_LINES: Final = b"[]"
_CLOUDPICKLE: Final = "cloudpickle.cloudpickle"


class SourceLines:
    """What is noted while a function is pickled."""

    def __init__(self) -> None:
        self._marks: dict[str, str] = {}
        self._spans: dict[str, set[tuple[int, int]]] = {}

    def mark_of(self, code: CodeType) -> str:
        """What stands for the file of a code object in the pickle; its lines are sent beside."""
        numbers = [line for _, _, line in code.co_lines() if line]
        span = min(numbers, default=code.co_firstlineno), max(numbers, default=code.co_firstlineno)
        self._spans.setdefault(code.co_filename, set()).add((min(span[0], code.co_firstlineno), span[1]))
        return self._marks.setdefault(code.co_filename, _mark(len(self._marks)))

    def packed(self) -> bytes:
        """Name and lines of each file, in the order of the marks; empty if there is none."""
        if not self._marks:
            return b""
        left, files = MAX_SOURCE_BYTES, []
        for name in self._marks:
            linecache.checkcache(name)
            lines = linecache.getlines(name)
            parts = []
            for first, last in _merged(self._spans[name]):
                text = "".join(lines[first - 1 : last])
                size = len(text.encode("utf-8", "surrogatepass"))
                if text and size <= left:
                    left -= size
                    parts.append([first, text])
            files.append([name, parts])
        return json.dumps(files, separators=(",", ":")).encode("ascii")


def _mark(number: int) -> str:
    return f"<sent by value {number}>"


def _merged(spans: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans without what lies within others."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(merged[-1][1], last)
        else:
            merged.append((first, last))
    return merged


def load_function(pickled: bytes, packed: bytes) -> Any:
    """Load a verified pickle whose files stand in ``packed``.

    Raises:
        Exception: whatever loading it raises.
    """
    files = json.loads(packed)
    for name, parts in files:
        _remember(name, parts)
    return _Unpickler(pickled, {_mark(number): name for number, (name, _) in enumerate(files)}).load()


def _remember(name: str, parts: list[tuple[int, str]]) -> None:
    """Have ``linecache`` know these lines; of the others, it knows what stands in the file, if it is here."""
    if not parts:
        return
    lines = list(linecache.getlines(name))
    for first, text in parts:
        sent = text.splitlines(keepends=True)
        lines.extend("\n" for _ in range(first - 1 + len(sent) - len(lines)))
        lines[first - 1 : first - 1 + len(sent)] = sent
    linecache.cache[name] = sum(map(len, lines)), None, lines, name  # None: it is not looked up again


class _Unpickler(pickle.Unpickler):
    """Gives code objects the names of their files."""

    def __init__(self, pickled: bytes, names: Mapping[str, str]) -> None:
        super().__init__(io.BytesIO(pickled))
        self._names = names

    def find_class(self, module: str, name: str) -> Any:
        """As it is found by name, but for what makes code objects."""
        found = super().find_class(module, name)
        if (module, name) != (_CLOUDPICKLE, "_builtin_type"):
            return found
        # Its memo keeps what is found: a method of its own would keep it, with all it has loaded, until a collection.
        return partial(_builtin_type, found, self._names)


def _builtin_type(find: Callable[[str], Any], names: Mapping[str, str], wanted: str) -> Any:
    found = find(wanted)
    return partial(_code, names) if found is CodeType else found


def _code(names: Mapping[str, str], *parts: Any) -> CodeType:
    make: Callable[..., CodeType] = CodeType
    name = parts[FILENAME]
    return make(*parts[:FILENAME], names.get(name, name), *parts[FILENAME + 1 :])
