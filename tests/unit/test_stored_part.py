"""Parts of a payload that lies in a file: read by whoever needs them, and not a byte of them without its digest."""

from __future__ import annotations

import os
import pickle
import random
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core.codecs import pieces, stored_part
from htcgrid_core.codecs.pieces import PIECE_BYTES
from htcgrid_core.codecs.stored_part import StoredPart
from htcgrid_core.codecs.values import encode_pickle
from htcgrid_core.domain.errors import CorruptPayload

AT = 1000  # of the body in its file
LOADED: list[str] = []


class Armed:
    """Says so when it is loaded."""

    def __reduce__(self) -> Any:
        return LOADED.append, ("loaded",)


def stored(path: Path, body: bytes) -> StoredPart:
    """A body in a file, with other things around it."""
    path.write_bytes(b"-" * AT + body + b"-" * 500)
    table = pieces.read_table(pieces.table(body), pieces.sealed_bytes(len(body)), "a test's")
    return StoredPart(str(path), AT, len(body), 0, len(body), table.digests)


def change(part: StoredPart, at: int, to: bytes) -> None:
    """Write to a body's file."""
    with open(part.path, "r+b") as file:
        file.seek(AT + at)
        file.write(to)


def test_any_part_reads_as_the_bytes_do(tmp_path: Path) -> None:
    body = random.Random(5).randbytes(5 * PIECE_BYTES + 77)
    whole = stored(tmp_path / "file", body)
    assert (len(whole), bytes(whole)) == (len(body), body)
    edges = sorted({max(0, n * PIECE_BYTES + d) for n in range(6) for d in (-1, 0, 1)} | {len(body), len(body) - 1})
    for start in edges:
        for stop in edges:
            part = whole[start:stop]
            assert bytes(part) == body[start:stop], (start, stop)
            assert len(part) == len(body[start:stop])
            middle = len(part) // 2
            again = stored_part.unpack(part.packed())
            assert again == part
            assert bytes(again[:middle]) + bytes(again[middle:]) == body[start:stop]


def test_a_path_that_is_no_text(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    assert bytes(stored_part.unpack(stored(path, b"body").packed())) == b"body"


@pytest.mark.parametrize("at", [0, PIECE_BYTES - 1, PIECE_BYTES, 2 * PIECE_BYTES + 5])
def test_what_is_damaged_is_not_read(tmp_path: Path, at: int) -> None:
    body = bytes(2 * PIECE_BYTES + 6)
    whole = stored(tmp_path / "file", body)
    change(whole, at, b"\1")
    with pytest.raises(CorruptPayload, match="digest"):
        bytes(whole)
    for number in range(3):
        part = whole[number * PIECE_BYTES : (number + 1) * PIECE_BYTES]
        if number == at // PIECE_BYTES:
            with pytest.raises(CorruptPayload):
                bytes(part)
        else:
            assert bytes(part) == bytes(len(part))


def test_what_is_not_there_is_not_read(tmp_path: Path) -> None:
    whole = stored(tmp_path / "file", bytes(PIECE_BYTES))
    os.truncate(whole.path, AT + 10)
    with pytest.raises(CorruptPayload):
        bytes(whole)
    os.unlink(whole.path)
    with pytest.raises(CorruptPayload, match="missing"):
        bytes(whole)


@pytest.mark.parametrize("padding", [0, 1, PIECE_BYTES - 100, PIECE_BYTES, 200_001])
def test_a_pickle_is_loaded_from_where_it_is(tmp_path: Path, padding: int) -> None:
    value = {
        "padding": "x" * padding, "large": bytearray(b"l" * 300_000), "bytes": b"b" * 200_000, "text": "t" * 150_000,
        "few": list(range(1000)),
    }  # fmt: skip
    data = encode_pickle(value)
    body = b"before" + data + b"behind"
    part = stored(tmp_path / "file", body)[6 : 6 + len(data)]
    found = part.unpickled()
    assert found == value
    change(part, 0, b"?" * len(body))
    assert found == value, "it is the reader's own"
    found["large"][0] = 0


def test_nothing_is_loaded_that_was_not_signed(tmp_path: Path) -> None:
    """Whoever may write to the file cannot have another pickle loaded."""
    data = encode_pickle(["harmless", bytearray(3 * PIECE_BYTES)])
    part = stored(tmp_path / "file", data)
    change(part, 0, pickle.dumps(Armed()))
    with pytest.raises(CorruptPayload):
        part.unpickled()
    assert LOADED == []


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    part = stored(tmp_path / "file", encode_pickle(bytearray(PIECE_BYTES)))
    part.unpickled()
    change(part, 5, b"?")
    with pytest.raises(CorruptPayload):
        part.unpickled()
    open_files = {os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")}
    assert part.path not in open_files
