"""Events from Parquet: every type that finance has, as Python's values and as a named handler's JSON."""

from __future__ import annotations

import datetime as dt
import decimal
import gzip
import io
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
from click.testing import CliRunner

from htcgrid_airflow.vectors import events_of
from htcgrid_core import Grid, InvalidInput, events_from, events_in
from htcgrid_core.cli.main import cli
from htcgrid_core.client.event_source import events_as
from tests.airflow.handlers import types_of

DAY = dt.date(2026, 1, 2)
TEXT = "2026-01-02"
PAIRS = [[[1, "a"]], [[2, "b"], [2, "c"]]]
MOMENT = dt.datetime(2026, 1, 2, 3, 4, 5, 678000)
ZURICH = dt.timezone(dt.timedelta(hours=1))


def file_of(table: Any, **options: Any) -> io.BytesIO:
    sink = io.BytesIO()
    parquet.write_table(table, sink, **options)
    sink.seek(0)
    return sink


def column(values: Any, kind: Any = None) -> Any:
    return arrow.table({"x": arrow.array(values, kind)})


def stored_as(values: list[int | None], kind: Any) -> Any:
    """A column of what only other libraries write."""
    width = arrow.int32() if kind.bit_width == 32 else arrow.int64()
    return arrow.table({"x": arrow.array(values, width).view(kind)})


def python(table: Any, **options: Any) -> list[Any]:
    return [row["x"] for row in events_from(file_of(table, **options), "f", "parquet")]


def plain(table: Any, decimals: Any = "text", **options: Any) -> list[Any]:
    events = events_from(file_of(table, **options), "f", "parquet", decimals=decimals)
    return [row["x"] for row in events_as("json", events)]


MONEY = [decimal.Decimal("1234.50"), decimal.Decimal("-0.01"), None]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (column([DAY, None]), ["2026-01-02", None]),
        (column([dt.date(1, 1, 1), dt.date(9999, 12, 31)]), ["0001-01-01", "9999-12-31"]),
        (column([MOMENT], arrow.timestamp("ms")), ["2026-01-02T03:04:05.678000"]),
        (column([MOMENT.replace(microsecond=0)], arrow.timestamp("s")), ["2026-01-02T03:04:05"]),
        (
            column([MOMENT.replace(tzinfo=ZURICH)], arrow.timestamp("us", "Europe/Zurich")),
            ["2026-01-02T02:04:05.678000+00:00"],
        ),
        (
            stored_as([1, -1, 10**9], arrow.timestamp("ns")),
            ["1970-01-01T00:00:00.000000001", "1969-12-31T23:59:59.999999999", "1970-01-01T00:00:01"],
        ),
        (column([dt.time(3, 4, 5), dt.time(0, 0, 0, 1)], arrow.time64("us")), ["03:04:05", "00:00:00.000001"]),
        (stored_as([1], arrow.time64("ns")), ["00:00:00.000000001"]),
        (stored_as([1500, -1500, None], arrow.duration("ms")), ["PT1.500000S", "-PT1.500000S", None]),
        (column(MONEY), ["1234.50", "-0.01", None]),
        (column([decimal.Decimal("0E-10")]), ["0.0000000000"]),
        (column([decimal.Decimal(10**37)]), [str(10**37)]),
        (column([b"\x00\xff"]), ["AP8="]),
        (column([uuid.UUID(int=1).bytes], arrow.uuid()), ["00000000-0000-0000-0000-000000000001"]),
        (column([[DAY, None], [], None]), [["2026-01-02", None], [], None]),
        (column([{"d": DAY, "n": 1}, None, {"d": None}]), [{"d": TEXT, "n": 1}, None, {"d": None, "n": None}]),
        (column([[{"d": [MONEY[0]]}], None]), [[{"d": ["1234.50"]}], None]),
        (column([[("a", DAY)], None, []], arrow.map_(arrow.string(), arrow.date32())), [[["a", TEXT]], None, []]),
        (column([[(1, "a")], [(2, "b"), (2, "c")]], arrow.map_(arrow.int8(), arrow.string())), PAIRS),
        (column([[DAY, DAY], None], arrow.list_(arrow.date32(), 2)), [["2026-01-02", "2026-01-02"], None]),
        (column(arrow.array(["a", "b", None]).dictionary_encode()), ["a", "b", None]),
        (column([1, None]), [1, None]),
        (column([1.5, float("inf")]), [1.5, float("inf")]),
        (column([True, None]), [True, None]),
        (column([None]), [None]),
    ],
    ids=str,
)  # fmt: skip
def test_a_named_handler_gets_the_documented_text(table: Any, expected: list[Any]) -> None:
    """A file with a date could not be submitted to a named handler at all."""
    assert plain(table) == expected
    assert plain(arrow.concat_tables([table] * 3)) == expected * 3


def test_decimals_as_numbers() -> None:
    assert plain(column(MONEY), "number") == [1234.5, -0.01, None]
    whole = plain(column([decimal.Decimal(10**37)]), "number")
    assert whole == [10**37]
    assert type(whole[0]) is int
    with pytest.raises(InvalidInput, match=r"f, row 1, column 'x': 1\.23456789012345678 has more digits than a number"):
        plain(column([decimal.Decimal("1.00000000000000000"), decimal.Decimal("1.23456789012345678")]), "number")


def test_a_callable_gets_pythons_values() -> None:
    table = arrow.table({"d": [DAY], "m": MONEY[:1], "u": arrow.array([uuid.UUID(int=1).bytes], arrow.uuid())})
    events = events_as("pickle", events_from(file_of(table), "f", "parquet"))
    assert list(events) == [{"d": DAY, "m": MONEY[0], "u": uuid.UUID(int=1)}]


INFINITY = 2**63 - 1  # as PostgreSQL and DuckDB write it
NOT_UTF8 = arrow.array([b"a", b"\xe9"], arrow.binary()).view(arrow.string())
LATE = arrow.array([0, 2**31 - 1], arrow.int32()).view(arrow.date32())


@pytest.mark.parametrize("read", [python, plain])
@pytest.mark.parametrize(
    "table",
    [
        stored_as([0, INFINITY], arrow.timestamp("us")),
        stored_as([0, -INFINITY], arrow.timestamp("us", "UTC")),
        stored_as([0, 2**60], arrow.timestamp("ms")),
        stored_as([0, 2**31 - 1], arrow.date32()),
        stored_as([0, 2_932_897], arrow.date32()),  # 10000-01-01
        stored_as([0, -719_163], arrow.date32()),  # 1 BC
        stored_as([0, 253_402_300_800_000], arrow.timestamp("ms")),
        stored_as([0, 86_400_000_000], arrow.time64("us")),  # 24:00, which was 00:00
        stored_as([0, -1], arrow.time64("us")),  # which was 23:59:59.999999
        arrow.table({"x": NOT_UTF8}),
        arrow.table({"x": arrow.ListArray.from_arrays([0, 1, 2], LATE)}),
        arrow.table({"x": arrow.StructArray.from_arrays([NOT_UTF8], names=["a"])}),
        arrow.table({"x": arrow.MapArray.from_arrays([0, 1, 2], arrow.array(["a", "b"]), LATE)}),
    ],
    ids=lambda table: str(table.schema) if hasattr(table, "schema") else None,
)  # fmt: skip
def test_values_that_python_has_not_are_named(read: Callable[[Any], list[Any]], table: Any) -> None:
    """They were tracebacks, or other values: column and row are said."""
    with pytest.raises(InvalidInput, match="f, row 1, column 'x': "):
        read(table)
    assert len(read(table.slice(0, 1))) == 1


@pytest.mark.parametrize("read", [python, plain])
def test_the_row_is_that_of_the_file(read: Callable[[Any], list[Any]]) -> None:
    days = stored_as([*[0] * 12_000, 2**31 - 1], arrow.date32())
    with pytest.raises(InvalidInput, match="f, row 12000, column 'x': "):
        read(days)


WITHOUT_PANDAS = """
import io, sys

class NoPandas:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pandas":
            raise ImportError(name)

sys.meta_path.insert(0, NoPandas())
import pyarrow as arrow, pyarrow.parquet as parquet
from htcgrid_core import InvalidInput, events_from

def values(stored, kind, as_json):
    sink = io.BytesIO()
    parquet.write_table(arrow.table({"x": arrow.array(stored, arrow.int64()).view(kind)}), sink)
    events = events_from(sink, "f", "parquet")
    return [row["x"] for row in (events.as_json() if as_json else events)]

for kind in (arrow.timestamp("ns"), arrow.time64("ns"), arrow.duration("ns")):
    assert values([1], kind, True)[0].strip("PTS").endswith("0.000000001"), "JSON needs no pandas"
    assert len(values([0, 1000], kind, False)) == 2, "whole microseconds need none"
    try:
        raise SystemExit(f"{kind}: {values([0, 1], kind, False)}")
    except InvalidInput as error:
        assert "f, row 1, column 'x': " in str(error), error
"""


def test_nanoseconds_without_pandas() -> None:
    """pyarrow's words for it were a traceback."""
    subprocess.run([sys.executable, "-c", WITHOUT_PANDAS], check=True, timeout=60)


def test_a_time_of_day_with_nanoseconds() -> None:
    """With pandas they were dropped."""
    with pytest.raises(InvalidInput, match="f, row 1, column 'x': a time of day with the nanosecond 1"):
        python(stored_as([0, 1], arrow.time64("ns")))


class TestInt96:
    """The timestamps that Spark and Impala wrote for years; pyarrow takes them for nanoseconds."""

    def test_all_years(self) -> None:
        """9999-12-31, which stands for "for ever", was 1816-03-29."""
        moments = [dt.datetime(9999, 12, 31), dt.datetime(1600, 1, 1), MOMENT, None]
        table = column(moments, arrow.timestamp("us"))
        assert python(table, use_deprecated_int96_timestamps=True) == moments
        texts = ["9999-12-31T00:00:00", "1600-01-01T00:00:00", "2026-01-02T03:04:05.678000", None]
        assert plain(table, use_deprecated_int96_timestamps=True) == texts

    def test_nanoseconds_are_kept_where_there_are_any(self) -> None:
        table = stored_as([1, None, -1], arrow.timestamp("ns"))
        found = plain(table, use_deprecated_int96_timestamps=True)
        assert found == ["1970-01-01T00:00:00.000000001", None, "1969-12-31T23:59:59.999999999"]

    def test_nanoseconds_beside_what_has_none(self) -> None:
        """No type of Arrow holds both."""
        written = file_of(stored_as([10**18, 1], arrow.timestamp("ns")), use_deprecated_int96_timestamps=True)
        data = written.getvalue()
        days, rest = divmod(10**18, 86_400 * 10**9)
        first = rest.to_bytes(8, "little") + (2_440_588 + days).to_bytes(4, "little")  # the Julian day
        assert data.count(first)
        later = first[:8] + (5_373_484).to_bytes(4, "little")  # in 9999
        with pytest.raises(InvalidInput, match="f, row 0, column 'x': a time outside of 1677 to 2262"):
            list(events_from(io.BytesIO(data.replace(first, later)), "f", "parquet"))

    def test_inside_of_others(self) -> None:
        table = column([[dt.datetime(9999, 12, 31)]], arrow.list_(arrow.timestamp("us")))
        assert plain(table, use_deprecated_int96_timestamps=True) == [["9999-12-31T00:00:00"]]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (arrow.Table.from_arrays([arrow.array([1]), arrow.array([2])], names=["a", "a"]), "f: the file has 'a' twice"),
        (
            arrow.table({"x": arrow.StructArray.from_arrays([arrow.array([1]), arrow.array([2])], names=["a", "a"])}),
            "f: column 'x' has 'a' twice",
        ),
        (
            arrow.table(
                {"x": arrow.ListArray.from_arrays([0, 1], arrow.StructArray.from_arrays([[1], [2]], names=["a", "a"]))}
            ),
            "f: column 'x' has 'a' twice",
        ),
    ],
)
def test_a_name_twice(table: Any, message: str) -> None:
    """Of two columns of one name the last was the event's."""
    for read in (python, plain):
        with pytest.raises(InvalidInput, match=message):
            read(table)


def test_parquet_within_gzip_and_options_of_csv() -> None:
    packed = io.BytesIO(gzip.compress(file_of(column([1])).getvalue()))
    with pytest.raises(InvalidInput, match=r"f: Parquet is compressed inside"):
        list(events_from(packed, "f", "parquet"))
    with pytest.raises(InvalidInput, match="a parquet file is read without separator"):
        events_from(file_of(column([1])), "f", "parquet", separator=";")
    with pytest.raises(InvalidInput, match="decimals='float': text or number"):
        events_from(file_of(column([1])), "f", "parquet", decimals="float")  # type: ignore[arg-type]


class TestAlike:
    """One encoding, whoever submits a file to a named handler."""

    ROW = {"day": "2026-01-02", "at": "2026-01-02T03:04:05.678000+00:00", "amount": "1234.50"}  # noqa: RUF012

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "book.parquet"
        at = arrow.array([MOMENT], arrow.timestamp("us", "UTC"))
        parquet.write_table(arrow.table({"day": [DAY], "at": at, "amount": MONEY[:1]}), path)
        return path

    def test_python(self, grid: Grid, path: Path) -> None:
        session = grid.submit("tests.airflow.handlers.seen_by_name", events_in(path))
        assert list(session.results()) == [self.ROW]
        numbers = grid.submit("tests.airflow.handlers.seen_by_name", events_in(path, decimals="number"))
        assert list(numbers.results()) == [{**self.ROW, "amount": 1234.5}]
        assert list(grid.submit(types_of, events_in(path)).results()) == [["date", "datetime", "Decimal"]]

    def test_airflow(self, grid: Grid, path: Path) -> None:
        for place in (str(path), f"file://{path}"):
            session = grid.submit("tests.airflow.handlers.seen_by_name", events_of(place))
            assert list(session.results()) == [self.ROW]
        numbers = grid.submit(
            "tests.airflow.handlers.seen_by_name", events_of(str(path), options={"decimals": "number"})
        )
        assert list(numbers.results()) == [{**self.ROW, "amount": 1234.5}]

    def test_command_line(self, grid: Grid, path: Path) -> None:
        for options, amount in (((), "1234.50"), (("--decimals", "number"), 1234.5)):
            arguments = ["submit", "tests.airflow.handlers.seen_by_name", "--events", str(path), "--url", grid.url]
            ran = CliRunner().invoke(cli, [*arguments, *options])
            assert ran.exit_code == 0, ran.output
            assert list(grid.session(ran.stdout.strip()).results()) == [{**self.ROW, "amount": amount}]

    def test_the_command_line_calls_no_bad_file_a_bug(self, grid: Grid, tmp_path: Path) -> None:
        """Exit code 70 and a traceback were what a date past 9999 gave."""
        path = tmp_path / "bad.parquet"
        parquet.write_table(stored_as([0, 2_932_897], arrow.date32()), path)
        arguments = ["submit", "tests.airflow.handlers.seen_by_name", "--events", str(path), "--url", grid.url]
        ran = CliRunner().invoke(cli, arguments)
        assert ran.exit_code == 2
        assert "bad.parquet, row 1, column 'x': the day +2,932,897 of 1970 is outside" in ran.stderr
