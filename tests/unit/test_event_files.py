"""Events from text files as other programs write them, compressed or not."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import events_from, events_in, format_of
from htcgrid_core.client.files import compression, json_events
from htcgrid_core.domain.errors import InvalidInput

zstd = compression._zstd("these tests")


def read(data: bytes, kind: Any = "csv", **options: Any) -> list[Any]:
    return list(events_from(io.BytesIO(data), "x", kind, **options))


def refusal(data: bytes, kind: Any = "csv", **options: Any) -> str:
    with pytest.raises(InvalidInput) as refused:
        read(data, kind, **options)
    return str(refused.value)


class TestCsv:
    def test_of_one_column_an_empty_line_is_a_row(self) -> None:
        """So DuckDB and Polars write a null; it was left out, and the tasks after it moved up."""
        assert read(b"a\n1\n\n3\n") == [{"a": "1"}, {"a": ""}, {"a": "3"}]
        assert read(b"a\r\n\r\n") == [{"a": ""}]
        assert read(b"a,b\n1,2\n\n3,4\n") == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}], "of two it is none"

    @pytest.mark.parametrize(
        ("data", "options"),
        [
            ("Kennung;Betrag\r\nA;1\r\n".encode("utf-8-sig"), {"separator": ";"}),
            (b"Kennung\tBetrag\nA\t1\n", {"separator": "\t"}),
            (b"Kennung\tBetrag\nA\t1\n", {"separator": "tab"}),
            (b"Kennung|Betrag\nA|1\n", {"separator": "|"}),
            (b"sep=;\nKennung;Betrag\nA;1\n", {}),
            (b"sep=;\r\nKennung;Betrag\r\nA;1\r\n", {"separator": ";"}),
            ("Kennung;Betrag\nA;1\n".encode("utf-16"), {"separator": ";", "encoding": "utf-16"}),
        ],
    )
    def test_other_separators(self, data: bytes, options: dict[str, Any]) -> None:
        assert read(data, **options) == [{"Kennung": "A", "Betrag": "1"}]

    @pytest.mark.parametrize(
        ("data", "named"),
        [
            (b"Kennung;Betrag\r\nA;1000\r\n", "';'"),
            (b";x\r\n0;1\r\n", "';'"),
            (b"a\tb\n1\t2\n", r"'\\t'"),
            (b"a|b\n1|2\n", r"'\|'"),
            (b"Name;Betrag, EUR\nA;1000,50\n", "';'"),
        ],
    )
    def test_a_separator_that_was_not_said_is_named(self, data: bytes, named: str) -> None:
        """Such a file was read as one column whose name was the whole header."""
        with pytest.raises(InvalidInput, match=f"x, line 1: .*option separator says .* columns: {named}, or ','"):
            read(data)

    def test_a_semicolon_may_be_a_part_of_a_name(self) -> None:
        assert read(b"a;b\n1;2\n", separator=",") == [{"a;b": "1;2"}]

    def test_tab_separated_by_name(self, tmp_path: Path) -> None:
        (tmp_path / "x.tsv").write_text("a\tb\n1\t2\n")
        (tmp_path / "x.TSV.gz").write_bytes(gzip.compress(b"a\tb\n1\t2\n"))
        for name in ("x.tsv", "x.TSV.gz"):
            assert list(events_in(tmp_path / name)) == [{"a": "1", "b": "2"}]

    @pytest.mark.parametrize(
        ("text", "number"),
        [
            ("1,5", "1.5"), ("-1.234.567,89", "-1234567.89"), ("1.000", "1000"), ("1,5E-3", "1.5E-3"), ("7", "7"),
            ("1.5", "1.5"), ("02.01.2026", "02.01.2026"), ("a,b", "a,b"), ("1,2,3", "1,2,3"), ("", ""), ("007", "007"),
        ],
    )  # fmt: skip
    def test_a_decimal_comma(self, text: str, number: str) -> None:
        assert read(f"x;y\n{text};1\n".encode(), separator=";", decimal=",") == [{"x": number, "y": "1"}]
        assert read(f"x;y\n{text};1\n".encode(), separator=";") == [{"x": text, "y": "1"}]

    def test_quotes(self) -> None:
        assert read(b"a,b\n'x,y',2\n", quote="'") == [{"a": "x,y", "b": "2"}]
        assert read(b'a,b\n5" pipe,"\n', quote="") == [{"a": '5" pipe', "b": '"'}]
        assert "line 2: not CSV" in refusal(b'a,b\n5" pipe,"x\n')

    def test_other_encodings(self) -> None:
        assert read("a,b\nMüller,€\n".encode("cp1252"), encoding="cp1252") == [{"a": "Müller", "b": "€"}]

    def test_a_large_field(self) -> None:
        """Python's own limit is 131,072 characters."""
        text = "x" * 131_073
        assert read(f"id,text\n1,{text}\n".encode()) == [{"id": "1", "text": text}]

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"a,b\n" + b"1,x\n" * 1000 + b"M\xfcller,x\n", "x, line 1002: byte 0xfc at column 2 is not UTF-8"),
            (b"a,b\n" + b"1,x\n" * 5000 + b"1,\xff", "x, line 5002: byte 0xff at column 3"),
            (b'a,b\n1,"x" \n', "x, line 2: not CSV"),
            (b'a,b\n1,"x\ny\n" z\n', "x, lines 2 to 4: not CSV"),
            (b'a,b\n1,2\n1,"x\ny\nz', "x, lines 3 to 5: not CSV"),
            (b'a,b\n1,"x\ny"\n1\n', "x, line 4: 1 of 2 columns"),
            (b'a,b\n1,"x\ny",3\n', "x, lines 2 to 3: 3 of 2 columns"),
            (b"sep=,\na,b\n1\n", "x, line 3: 1 of 2 columns"),
            (b"sep=,\na,a\n1\n", "x, line 2: a header with a different name"),
            (b"a,\n1,2\n", "x, line 1: a header with a different name"),
            (b"", "x, line 1: a header with a different name"),
        ],
    )
    def test_what_is_wrong_is_named_with_its_line(self, data: bytes, message: str) -> None:
        assert message in refusal(data)

    def test_a_file_without_line_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is told from its first line and not when memory is full."""
        monkeypatch.setattr("htcgrid_core.domain.limits.MAX_EVENT_BYTES", 1000)
        assert "x, line 2: longer than 1,000 characters" in refusal(b"a,b\n" + b"x" * 5000)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"separator": ";;"}, "separator=';;'"),
            ({"separator": '"'}, "separator='\"'"),
            ({"decimal": ";"}, "decimal=';'"),
            ({"quote": "ab"}, "quote='ab'"),
            ({"encoding": "utf-9"}, "encoding='utf-9'"),
            ({"decimals": "text"}, "a csv file is read without decimals"),
        ],
    )
    def test_options_that_are_none(self, options: dict[str, Any], message: str) -> None:
        assert message in refusal(b"a\n1\n", **options)

    def test_the_stream_stays_open_unless_told(self) -> None:
        stream, closed = io.BytesIO(b"a\n1\n"), io.BytesIO(b"a\n1\n")
        assert list(events_from(stream, "x", "csv")) == list(events_from(closed, "x", "csv", closing=True))
        assert (stream.closed, closed.closed) == (False, True)


class TestJson:
    def test_a_name_twice(self) -> None:
        """One of the two values was lost without a word."""
        assert "x, line 2: not a JSON value (an object has 'a' twice)" in refusal(
            b'{"a": 1}\n{"b": {"a": 1, "a": 2}}\n', "jsonl"
        )
        assert "an object has 'a' twice" in refusal(b'[{"a": 1, "a": 2}]', "json")

    def test_options_of_other_formats(self) -> None:
        assert "a jsonl file is read without encoding, separator" in refusal(
            b"1\n", "jsonl", separator=";", encoding="utf-8"
        )

    def test_an_array_that_is_too_large_to_be_read_whole(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Packed, a few megabytes can be many gigabytes."""
        monkeypatch.setattr(json_events, "MAX_ARRAY_BYTES", 1000)
        packed = gzip.compress(b"[" + b" " * 2000 + b"]")
        assert "x: over 1,000 bytes" in refusal(packed, "json")
        assert read(gzip.compress(b"[1, 2]"), "json") == [1, 2]


PACKED: list[tuple[str, Callable[[bytes], bytes]]] = [
    (".gz", gzip.compress),
    (".gz", lambda data: b"".join(gzip.compress(data[at : at + 9]) for at in range(0, len(data), 9))),
    (".zst", lambda data: bytes(zstd.compress(data))),
    (".zst", lambda data: b"".join(zstd.compress(data[at : at + 9]) for at in range(0, len(data), 9))),
]


class TestCompressed:
    @pytest.mark.parametrize(("suffix", "pack"), PACKED)
    @pytest.mark.parametrize(
        ("name", "data", "events"),
        [
            ("e.jsonl", b"1\n" * 30, [1] * 30),
            ("e.ndjson", b'{"a": 1}\n', [{"a": 1}]),
            ("e.JSON", b"[1, 2]", [1, 2]),
            ("e.csv", b"a,b\n1,2\n", [{"a": "1", "b": "2"}]),
        ],
    )
    def test_is_read_as_what_is_in_it(
        self, tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes], name: str, data: bytes, events: list[Any]
    ) -> None:
        """Every exporter writes such files; whoever leaves the suffix away, or puts it there, changes nothing."""
        packed, bare = tmp_path / f"{name}{suffix}", tmp_path / name
        packed.write_bytes(pack(data))
        assert list(events_in(packed)) == events
        bare.write_bytes(pack(data))
        assert list(events_in(bare)) == events
        packed.write_bytes(data)
        assert list(events_in(packed)) == events

    @pytest.mark.parametrize(("suffix", "pack"), PACKED[::2])
    @pytest.mark.parametrize("kind", ["jsonl", "csv", "json"])
    def test_cut_short(self, suffix: str, pack: Callable[[bytes], bytes], kind: str) -> None:
        """A part of a vector is no vector: other readers of zstd end quietly there."""
        lines = b"a\n" if kind == "csv" else b""
        data = json.dumps(list(range(9999))).encode() if kind == "json" else lines + b"1234\n" * 9999
        packed = pack(data)
        assert "damaged or cut short" in refusal(packed[:-5], kind)

    def test_damaged(self) -> None:
        packed = bytearray(gzip.compress(json.dumps(list(range(9999))).encode()))
        packed[len(packed) // 2] ^= 0xFF
        assert "x cannot be read" in refusal(bytes(packed), "jsonl")

    def test_no_more_is_unpacked_than_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("htcgrid_core.domain.limits.MAX_EVENT_BYTES", 1000)
        for packed in (gzip.compress(b"x" * (1 << 24)), zstd.compress(b"x" * (1 << 24))):
            stream = compression.inflated(io.BytesIO(packed), "x")
            assert len(stream.readline(1001)) == 1001
            assert "line 1: longer than 1,000" in refusal(packed, "jsonl")

    def test_zstd_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        packed = zstd.compress(b"1\n")
        for module in ("compression.zstd", "backports.zstd"):
            monkeypatch.setitem(sys.modules, module, None)
        assert "x: reading .zst needs backports.zstd (`pip install " in (said := refusal(packed, "jsonl"))
        assert ".[zstd]" in said

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (bz2.compress(b"1\n"), "bzip2: .gz and .zst are read"),
            (lzma.compress(b"1\n"), "xz: .gz and .zst are read"),
            (b"PK\x03\x04...", "Excel workbook: save it as CSV"),
            (b"PAR1\x15\x04", "name it .parquet"),
        ],
    )
    def test_what_is_not_read_is_named(self, data: bytes, message: str) -> None:
        assert message in refusal(data, "jsonl")
        assert message in refusal(data, "csv")

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("a.csv.gz", "csv"), ("A.CSV.ZST", "csv"), ("a.tsv", "csv"), ("a.json.gz", "json"), ("a.gz", "jsonl"),
            ("part-0.gz.parquet", "parquet"), ("s3://bucket/day=1/a.jsonl.zst", "jsonl"),
        ],
    )  # fmt: skip
    def test_the_format_is_told_from_the_name_within(self, name: str, kind: str) -> None:
        assert format_of(name) == kind

    def test_a_pipe_and_a_raw_stream(self) -> None:
        class Raw(io.RawIOBase):
            """As a socket: it is read once, and in parts."""

            def __init__(self, data: bytes) -> None:
                self._data = io.BytesIO(data)

            def readable(self) -> bool:
                return True

            def readinto(self, buffer: Any) -> int:
                return self._data.readinto(memoryview(buffer)[:3])

        assert list(events_from(Raw(gzip.compress(b"1\n2\n")), "x", "jsonl")) == [1, 2]  # type: ignore[arg-type]
