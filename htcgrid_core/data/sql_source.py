"""Queries as events: rows through a cursor on the server, in an order that is checked."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Generator, Iterator, Mapping
from itertools import chain
from operator import itemgetter
from typing import Any

from htcgrid_core.client.event_source import staged
from htcgrid_core.data.base import Source
from htcgrid_core.data.connections import Database, driver_of
from htcgrid_core.data.plain import json_rows
from htcgrid_core.domain.errors import InvalidInput

ROWS = 10_000  # asked for at once
_CURSOR = "htcgrid_events"
_NAME = re.compile(r"(?<![:\w]):([A-Za-z_]\w*)")  # but not :: of a cast
_MARKS = {"qmark": "?", "format": "%s", "pyformat": "%({name})s", "named": ":{name}", "numeric": ":{number}"}
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)


class SqlSource(Source):
    """The rows of one statement.

    Args:
        database: where it runs.
        query: one SELECT; ``:name`` stands for a parameter.
        parameters: by name; bound by the driver, never put into the text.
        order_by: columns of the result that together are unique: the database sorts by them, and two rows that are
            equal in all of them are an error, as their order is not the same at each reading. Without, all rows are
            staged on this machine's disk and sorted there.
    """

    def __init__(
        self,
        database: Database,
        query: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        order_by: str | list[str] | tuple[str, ...] = (),
    ) -> None:
        self.name = database.name
        self._database = database
        self._query = query.strip().rstrip(";")
        self._parameters = dict(parameters or {})
        self._order = [order_by] if isinstance(order_by, str) else list(order_by)
        if not self._query:
            raise InvalidInput(f"{self.name}: the query is empty")

    @property
    def is_ordered(self) -> bool:
        """Whether the database is told a unique order."""
        return bool(self._order)

    @property
    def is_pinned(self) -> bool:
        """Others may write between two readings."""
        return False

    def identity(self) -> str:
        """What the query gives now: it is read for this, since no database says whether its rows have changed."""
        digest = hashlib.blake2b(digest_size=16)
        rows = self.rows(as_json=False)
        for row in rows if self.is_ordered else staged(rows):
            digest.update(repr(row).encode("utf-8", "surrogatepass"))
        return f"sql {digest.hexdigest()}"

    def rows(self, *, as_json: bool) -> Iterator[Any]:
        """See ``Source``."""
        return json_rows(self._python_rows(), self.name) if as_json else self._python_rows()

    def _python_rows(self) -> Iterator[dict[str, Any]]:
        with self._database.connected() as connection, contextlib.ExitStack() as stack:
            cursor = stack.enter_context(contextlib.closing(_cursor(connection)))
            rows = _rows(cursor, *self._statement(connection))
            stack.callback(rows.close)  # first: while a stream is open, psycopg lets nobody else use the connection
            names, batches = _names(cursor, rows, self.name)
            keys = [names.index(column) if column in names else self._unknown(column, names) for column in self._order]
            if driver_of(connection) == "psycopg2":
                batches = map(_with_bytes, batches)
            for values in self._checked(batches, keys) if keys else batches:
                yield dict(zip(names, values))  # noqa: B905 - a row has as many as there are columns

    def _checked(self, rows: Iterator[Any], keys: list[int]) -> Iterator[Any]:
        """The rows, of which no two neighbours are equal in the columns that they are sorted by."""
        key_of, before = itemgetter(*keys), object()
        for number, values in enumerate(rows):
            key = key_of(values)
            if key == before:
                columns = ", ".join(self._order)
                raise InvalidInput(f"{self.name}, row {number}: {columns} is not unique: {key}")
            before = key
            yield values

    def _unknown(self, column: str, names: list[str]) -> int:
        raise InvalidInput(f"{self.name}: order_by={column!r} is no column of the query: {', '.join(names)}")

    def _statement(self, connection: Any) -> tuple[str, Any]:
        """The statement as this driver takes it."""
        text = self._query
        if self._order:
            quote = "`" if driver_of(connection) in ("pymysql", "MySQLdb", "mysql") else '"'
            columns = ", ".join(quote + name.replace(quote, quote * 2) + quote for name in self._order)
            text = f"SELECT * FROM ({text}\n) AS events_of_query ORDER BY {columns}"  # noqa: S608 - the user's own query
        return _bound(text, self._parameters, _style(connection))


def _with_bytes(values: Any) -> list[Any]:
    """A row without views of the driver's buffers."""
    return [bytes(value) if type(value) is memoryview else value for value in values]


def _style(connection: Any) -> str:
    import importlib

    module = importlib.import_module(driver_of(connection))
    if not hasattr(module, "paramstyle"):  # such as adbc_driver_manager, whose dbapi it is
        module = importlib.import_module(type(connection).__module__)
    return str(getattr(module, "paramstyle", "qmark"))


def _bound(text: str, parameters: Mapping[str, Any], style: str) -> tuple[str, Any]:
    """Text and parameters in a driver's style.

    Raises:
        InvalidInput: a parameter has no value, or a value no parameter.
    """
    order: list[str] = []

    def mark(found: re.Match[str]) -> str:
        if found[1] not in parameters:
            raise InvalidInput(f"the query's parameter :{found[1]} has no value")
        order.append(found[1])
        return _MARKS[style].format(name=found[1], number=len(order))

    def plain(part: str) -> str:
        return part.replace("%", "%%") if parameters and style in ("format", "pyformat") else part

    if not parameters:
        return text, None
    made, at = [], 0
    for quoted in chain(_QUOTED.finditer(text), [None]):
        end = len(text) if quoted is None else quoted.start()
        made.append(_NAME.sub(mark, plain(text[at:end])))
        if quoted is not None:
            made.append(plain(quoted[0]))
            at = quoted.end()
    unused = sorted(set(parameters) - set(order))
    if unused:
        raise InvalidInput(f"the query has no parameter :{unused[0]}")
    named = style in ("pyformat", "named")
    return "".join(made), {n: parameters[n] for n in order} if named else tuple(parameters[n] for n in order)


def _cursor(connection: Any) -> Any:
    """A cursor whose rows stay on the server until they are asked for, where the driver has one."""
    driver = driver_of(connection)
    if driver == "psycopg2":
        cursor = connection.cursor(name=_CURSOR)
        cursor.itersize = ROWS
        return cursor
    if driver == "psycopg":
        from psycopg import capabilities

        return connection.cursor() if capabilities.has_stream_chunked() else connection.cursor(name=_CURSOR)
    if driver in ("pymysql", "MySQLdb"):
        import importlib

        return connection.cursor(importlib.import_module(f"{driver}.cursors").SSCursor)
    return connection.cursor()


def _rows(cursor: Any, text: str, parameters: Any) -> Generator[Any, None, None]:
    given = () if parameters is None else (parameters,)
    if hasattr(cursor, "stream") and getattr(cursor, "name", None) is None:
        with contextlib.closing(cursor.stream(text, *given, size=ROWS)) as rows:
            yield from rows
        return
    cursor.execute(text, *given)
    while rows := cursor.fetchmany(ROWS):
        yield from rows


def _names(cursor: Any, rows: Iterator[Any], name: str) -> tuple[list[str], Iterator[Any]]:
    """The names of the columns, which some drivers know with the first row, and all rows."""
    first = next(rows, None)
    if cursor.description is None:
        raise InvalidInput(f"{name}: the query gives no rows: it must be a SELECT")
    names = [str(column[0]) for column in cursor.description]
    twice = next((one for one in names if names.count(one) > 1), None)
    if twice is not None:
        raise InvalidInput(f"{name}: the query has two columns {twice!r}: name one of them otherwise (AS)")
    return names, rows if first is None else chain([first], rows)
