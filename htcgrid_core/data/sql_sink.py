"""Results in a table of a database: a session's rows replaced in one transaction; by COPY and upsert on PostgreSQL."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from htcgrid_core.client.result_sink import INDEX, SESSION, ResultRows
from htcgrid_core.data.connections import (
    Database,
    driver_of,
    first_line,
    has_uncommitted,
    in_transaction,
    is_of_database,
)
from htcgrid_core.data.fitting import check_case
from htcgrid_core.data.sql_fitting import checks_of
from htcgrid_core.data.sql_types import column_type, copied, plain
from htcgrid_core.domain.errors import GridUnavailable, InvalidInput

ROWS = 1_000  # of one executemany
STAGED = "_htcgrid_staged"  # which hides a table of that name
_COPIES = ("psycopg", "psycopg2")


class SqlSink:
    """A table with a primary key over ``session`` and ``task_index``, made if there is none.

    Args:
        table: its name, after its schema's and a point if it is not in the default one.
    """

    def __init__(self, database: Database, table: str) -> None:
        parts = table.split(".")
        if not table or not all(parts) or len(parts) > 3:
            raise InvalidInput(f"{table!r} is no table's name")
        self._database = database
        self._parts = parts
        self.name = f"{database.name}, table {table}"

    def check(self) -> None:
        """See ``ResultSink``."""
        with self._database.connected() as connection, contextlib.closing(connection.cursor()) as cursor:
            was_idle = in_transaction(connection) is False
            self._check_committed(connection, cursor)
            there = self._columns(connection, cursor)
            if was_idle:
                connection.rollback()
        for column in (SESSION, INDEX):
            if there is not None and column not in there:
                raise InvalidInput(f"{self.name} has no column {column!r}, by which a session's rows are replaced")

    def replace(self, rows: ResultRows) -> None:
        """See ``ResultSink``."""
        with self._database.connected() as connection:
            with contextlib.closing(connection.cursor()) as cursor:
                self._check_committed(connection, cursor)
            _begin(connection)
            try:
                with contextlib.closing(connection.cursor()) as cursor:
                    self._replace(connection, cursor, rows)
                connection.commit()
            except BaseException as error:
                with contextlib.suppress(Exception):  # of a connection that is lost
                    connection.rollback()
                if not isinstance(error, Exception) or not is_of_database(error):
                    raise
                kind = InvalidInput if _is_of_values(error) else GridUnavailable
                raise kind(f"{self.name} was not written: {first_line(error)}") from error

    def _check_committed(self, connection: Any, cursor: Any) -> None:
        if has_uncommitted(connection, cursor):
            raise InvalidInput(
                f"{self.name}: something is written on the connection that is not committed, which would be committed "
                "with the results, or rolled back if they fail: commit it first"
            )

    def _replace(self, connection: Any, cursor: Any, rows: ResultRows) -> None:
        columns = list(rows.schema().names)
        if self._columns(connection, cursor) is None:
            self._create(connection, cursor, rows)
        there = self._columns(connection, cursor) or []
        missing = [name for name in columns if name not in there]
        if missing:
            raise InvalidInput(f"{self.name} has no column {missing[0]!r}, which the results have: add it to the table")
        if driver_of(connection) in _COPIES:
            self._copy(cursor, rows, columns)
        else:
            self._insert(connection, cursor, rows, columns)

    def _columns(self, connection: Any, cursor: Any) -> list[str] | None:
        """The table's columns; None if there is none."""
        if driver_of(connection) in _COPIES:
            cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (self._table(connection),))
            if not cursor.fetchone()[0]:
                return None
        else:
            with contextlib.suppress(Exception):  # there is no other way that all databases know
                cursor.execute(f"SELECT * FROM {self._table(connection)} WHERE 1 = 0")  # noqa: S608 - quoted
                return [str(column[0]) for column in cursor.description]
            return None
        cursor.execute(f"SELECT * FROM {self._table(connection)} WHERE false")  # noqa: S608 - quoted
        return [str(column[0]) for column in cursor.description]

    def _types(self, cursor: Any) -> dict[str, str]:
        """The table's columns and their types, on PostgreSQL."""
        cursor.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
            (self._table(cursor.connection),),
        )
        return dict(cursor.fetchall())

    def _create(self, connection: Any, cursor: Any, rows: ResultRows) -> None:
        is_postgres = driver_of(connection) in _COPIES
        own = rows.schema()
        if not is_postgres:
            check_case(rows, self.name)
        columns = [
            f"{_quoted(field.name, connection)} {column_type(field.type, is_postgres)}"
            f"{'' if field.nullable else ' NOT NULL'}"
            for field in own
        ]
        key = f"PRIMARY KEY ({_quoted(SESSION, connection)}, {_quoted(INDEX, connection)})"
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {self._table(connection)} ({', '.join([*columns, key])})")

    def _copy(self, cursor: Any, rows: ResultRows, columns: Sequence[str]) -> None:
        """COPY into a table of this transaction's own, and from there what is new or another.

        Writers of one session wait for each other, so that none deletes what another has not written yet.
        """
        table = self._table(cursor.connection)
        names = ", ".join(_quoted(name, cursor.connection) for name in columns)
        checks = checks_of(rows, self._types(cursor), self.name)
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"{table} {rows.session}",))
        cursor.execute(f"CREATE TEMPORARY TABLE {STAGED} ON COMMIT DROP AS SELECT {names} FROM {table} WITH NO DATA")  # noqa: S608
        _copy_in(
            cursor,
            f"COPY {STAGED} ({names}) FROM STDIN (FORMAT csv, ENCODING 'UTF8')",
            copied(rows, columns, checks, self.name),
        )
        cursor.execute(
            f"DELETE FROM {table} AS old WHERE old.{SESSION} = %s AND NOT EXISTS "  # noqa: S608 - quoted
            f"(SELECT 1 FROM {STAGED} AS new WHERE new.{INDEX} = old.{INDEX})",
            (rows.session,),
        )
        others = [name for name in columns if name not in (SESSION, INDEX)]
        quoted = [_quoted(name, cursor.connection) for name in others]
        changes = ", ".join(f"{name} = EXCLUDED.{name}" for name in quoted)
        # Casts to text compare what has no equality of its own, such as json.
        was = ", ".join(f"old.{name}::text" for name in quoted)
        now = ", ".join(f"EXCLUDED.{name}::text" for name in quoted)
        update = f"UPDATE SET {changes} WHERE ({was}) IS DISTINCT FROM ({now})" if others else "NOTHING"
        cursor.execute(
            f"INSERT INTO {table} AS old ({names}) SELECT {names} FROM {STAGED} "  # noqa: S608 - quoted
            f"ON CONFLICT ({SESSION}, {INDEX}) DO {update}"
        )

    def _insert(self, connection: Any, cursor: Any, rows: ResultRows, columns: Sequence[str]) -> None:
        table = self._table(connection)
        mark = "%s" if _paramstyle(connection) in ("format", "pyformat") else "?"
        cursor.execute(f"DELETE FROM {table} WHERE {_quoted(SESSION, connection)} = {mark}", (rows.session,))  # noqa: S608
        names = ", ".join(_quoted(name, connection) for name in columns)
        statement = f"INSERT INTO {table} ({names}) VALUES ({', '.join([mark] * len(columns))})"  # noqa: S608 - quoted
        values = (tuple(plain(row.get(name), row[INDEX], name) for name in columns) for row in rows.dicts())
        while batch := list(itertools.islice(values, ROWS)):
            cursor.executemany(statement, batch)

    def _table(self, connection: Any) -> str:
        return ".".join(_quoted(part, connection) for part in self._parts)


def _begin(connection: Any) -> None:
    """Begin the transaction where the driver would let statements stand alone."""
    if driver_of(connection) == "sqlite3" and connection.isolation_level is None:
        connection.execute("BEGIN IMMEDIATE")
    elif getattr(connection, "autocommit", False) is True:
        raise InvalidInput("the connection commits each statement (autocommit): results need a transaction")


def _copy_in(cursor: Any, statement: str, blocks: Iterator[bytes]) -> None:
    if hasattr(cursor, "copy_expert"):
        cursor.copy_expert(statement, _Blocks(blocks))
        return
    with cursor.copy(statement) as copy:
        for block in blocks:
            copy.write(block)


class _Blocks:
    """Blocks as a file that psycopg2 reads."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self._left = blocks, b""

    def read(self, size: int = -1) -> bytes:
        """Some bytes; none at the end."""
        if not self._left:
            self._left = next(self._blocks, b"")
        taken = self._left if size < 0 else self._left[:size]
        self._left = self._left[len(taken) :]
        return taken


def _quoted(name: str, connection: Any) -> str:
    quote = "`" if driver_of(connection) in ("pymysql", "MySQLdb", "mysql") else '"'
    return quote + name.replace(quote, quote * 2) + quote


def _paramstyle(connection: Any) -> str:
    import importlib

    return str(getattr(importlib.import_module(driver_of(connection)), "paramstyle", "qmark"))


def _is_of_values(error: Exception) -> bool:
    """Whether the rows are at fault, so that to write them again helps nobody; not so what another writer did."""
    names = {kind.__name__ for kind in type(error).__mro__}
    kinds = {"DataError", "ProgrammingError", "NotSupportedError", "NotNullViolation", "CheckViolation"}
    is_sqlites = "IntegrityError" in names and str(error).startswith(("NOT NULL", "CHECK"))
    return bool(names & kinds) or is_sqlites
