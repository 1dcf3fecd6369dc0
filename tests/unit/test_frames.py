"""Blocks of events and pages of outcomes: they come back whole, or not at all (S9)."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from htcgrid_core.codecs import frames
from htcgrid_core.codecs import outcomes as codec
from htcgrid_core.codecs.outcomes import Outcome, Outcomes, decode_error, encode_error
from htcgrid_core.domain.errors import CorruptPayload
from htcgrid_core.domain.outcome import TaskError

texts = st.text(st.characters(codec=None), max_size=20)  # lone surrogates too
rows = st.builds(
    Outcome,
    index=st.integers(0, 2**32 - 1),
    failed=st.booleans(),
    attempt=st.integers(0, 2**16 - 1),
    started=st.floats(allow_nan=False),
    seconds=st.floats(width=32, allow_nan=False),
    payload=st.binary(max_size=50),
    stdout=texts,
    stderr=texts,
)
pages = st.lists(rows, max_size=20, unique_by=lambda row: row.index)

BLOCK = frames.pack([b"one", b"", b'{"three":3}'], ["0123.json"])


def filled(given_rows: list[Outcome]) -> Outcomes:
    outcomes = Outcomes()
    for row in given_rows:
        outcomes.append(row)
    return outcomes


PAGE = codec.pack(
    filled(
        [
            Outcome(0, False, 1, 1.5, 0.25, b"1", "", ""),
            Outcome(7, True, 3, 2.5, 0.5, encode_error(TaskError("E", "m", "t")), "out", "err"),
        ]
    )
)
PACKED: list[tuple[str, bytes, Callable[[bytes], object]]] = [
    ("block", BLOCK, frames.unpack),
    ("page", PAGE, codec.unpack),
]


class TestBlocks:
    @given(st.lists(st.binary(max_size=50), max_size=50), st.lists(st.text(max_size=10), max_size=3))
    def test_come_back(self, payloads: list[bytes], shared: list[str]) -> None:
        found = frames.unpack(frames.pack(payloads, shared))
        assert found.payloads() == payloads
        assert found.shared == tuple(shared)
        assert list(found.lengths) == [len(payload) for payload in payloads]
        assert [found.data[a:b] for a, b in zip(found.offsets(), found.offsets()[1:], strict=False)] == payloads


class TestPages:
    @given(pages)
    def test_come_back(self, given_rows: list[Outcome]) -> None:
        found = codec.unpack(codec.pack(filled(given_rows)))
        assert list(found) == given_rows
        assert (len(found), found.failures) == (len(given_rows), sum(row.failed for row in given_rows))
        assert found.size == sum(len(row.payload) for row in given_rows)

    @given(pages, st.integers(0, 20), st.integers(0, 20))
    def test_add_up(self, given_rows: list[Outcome], first: int, second: int) -> None:
        """However the rows came together: one by one, or page by page, unpacked or not."""
        cuts = sorted((min(first, len(given_rows)), min(second, len(given_rows))))
        whole = Outcomes()
        for piece in (given_rows[: cuts[0]], given_rows[cuts[0] : cuts[1]], given_rows[cuts[1] :]):
            whole.extend(codec.unpack(codec.pack(filled(piece))))
        assert list(whole) == given_rows
        assert codec.pack(whole) == codec.pack(filled(given_rows))

    def test_an_attempt_too_many_is_still_a_page(self) -> None:
        (row,) = codec.unpack(codec.pack(filled([Outcome(0, False, 70_000, 0.0, 0.0, b"", "", "")])))
        assert row.attempt == 65_535

    def test_no_time_is_no_number(self) -> None:
        (row,) = codec.unpack(codec.pack(filled([Outcome(0, False, 1, math.nan, math.inf, b"", "", "")])))
        assert math.isnan(row.started)
        assert math.isinf(row.seconds)


class TestErrors:
    @given(texts, texts, texts)
    def test_come_back(self, kind: str, message: str, trace: str) -> None:
        assert decode_error(encode_error(TaskError(kind, message, trace))) == TaskError(kind, message, trace)

    def test_are_what_lambda_writes(self) -> None:
        assert encode_error(TaskError("KeyError", "'x'", "Traceback")) == (
            b'{"errorType":"KeyError","errorMessage":"\'x\'","stackTrace":"Traceback"}'
        )


class TestDamage:
    """A bit, a byte, a tail: whatever is not as it was packed is refused."""

    @pytest.mark.parametrize(("name", "packed", "unpack"), PACKED, ids=["block", "page"])
    def test_any_bit_flipped(self, name: str, packed: bytes, unpack: Callable[[bytes], object]) -> None:
        unpack(packed)
        for bit in range(8 * len(packed)):
            damaged = bytearray(packed)
            damaged[bit // 8] ^= 1 << bit % 8
            with pytest.raises(CorruptPayload):
                unpack(bytes(damaged))

    @pytest.mark.parametrize(("name", "packed", "unpack"), PACKED, ids=["block", "page"])
    def test_any_tail_lost_or_added(self, name: str, packed: bytes, unpack: Callable[[bytes], object]) -> None:
        for length in range(len(packed)):
            with pytest.raises(CorruptPayload):
                unpack(packed[:length])
        for more in (b"\0", b"x" * 100, packed):
            with pytest.raises(CorruptPayload):
                unpack(packed + more)

    def test_one_is_not_the_other(self) -> None:
        with pytest.raises(CorruptPayload):
            frames.unpack(PAGE)
        with pytest.raises(CorruptPayload):
            codec.unpack(BLOCK)

    @settings(max_examples=500)
    @given(st.binary(max_size=80))
    def test_nonsense_with_a_right_checksum(self, body: bytes) -> None:
        """Whoever can compute a checksum can still not crash an agent or a client: unpacked, or CorruptPayload."""
        for magic, unpack in ((frames.MAGIC, frames.unpack), (codec.MAGIC, codec.unpack)):
            packed = struct.pack("<4sI", magic, zlib.crc32(body)) + body
            try:
                unpack(packed)
            except CorruptPayload:
                continue

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"\xff",
            struct.pack("<I", 2**32 - 1),
            struct.pack("<I", 3) + b"abc" + struct.pack("<I", 0),
            struct.pack("<I", 2) + b"[]" + struct.pack("<I", 0),
            struct.pack("<I", 13) + b'{"shared": 3}' + struct.pack("<I", 0),
            struct.pack("<II", 2**32 - 1, 0),
            struct.pack("<II", 0, 2**32 - 1),
            struct.pack("<II", 0, 2) + b"{]",
            struct.pack("<II", 0, 5) + b"[[1]]",
            struct.pack("<II", 0, 1) + b"3",
        ],
    )
    def test_framing_that_lies(self, body: bytes) -> None:
        refused = 0
        for magic, unpack in ((frames.MAGIC, frames.unpack), (codec.MAGIC, codec.unpack)):
            packed = struct.pack("<4sI", magic, zlib.crc32(body)) + body
            try:
                unpack(packed)
            except CorruptPayload:
                refused += 1
        assert refused >= 1
