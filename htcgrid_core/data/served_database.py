"""Databases that the server reads for others: by a registered name, one statement, read-only, for a limited time."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from htcgrid_core.data.base import missing
from htcgrid_core.data.connections import Database, first_line, is_of_database
from htcgrid_core.data.filters import Condition, conditions_of
from htcgrid_core.domain.errors import InvalidInput

CONNECT_SECONDS = 10
_LOOKS = 10_000  # instructions of SQLite's machine from one look at the clock to the next
_log = logging.getLogger(__name__)


class ServedDatabase(Database):
    """A database whose address nobody is told. May be used from many threads: each use has a connection of its own.

    Only drivers that run one statement at a time are taken, so that no text of a query ends the transaction that it
    runs in: psycopg, and sqlite3.

    Args:
        name: by which requests name it.
        url: for SQLAlchemy.
        timeout_seconds: in which a statement ends, the reading of its rows included.

    Raises:
        InvalidInput: the URL is none, or of another driver.
    """

    def __init__(self, name: str, url: str, timeout_seconds: float) -> None:
        self.name = f"connection {name!r}"
        self._connection = None
        self._timeout_seconds = timeout_seconds
        self._engine = self._made(url)

    def _made(self, url: str) -> Any:
        try:
            import sqlalchemy
            from sqlalchemy import exc
        except ImportError as error:
            raise missing(self.name, "sqlalchemy", error) from error
        try:
            parsed = sqlalchemy.make_url(url)
            if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
                file = f"file:{quote(parsed.database or '')}"
                parsed = parsed.set(drivername="sqlite", database=file, query={"mode": "ro", "uri": "true"})
                arguments, prepare = {}, self._prepare_sqlite
            elif parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
                parsed = parsed.set(drivername="postgresql+psycopg")
                arguments, prepare = {"connect_timeout": CONNECT_SECONDS}, self._prepare_postgresql
            else:
                raise InvalidInput(f"{self.name}: the server reads postgresql+psycopg:// and sqlite:// alone")
            engine = sqlalchemy.create_engine(parsed, poolclass=sqlalchemy.pool.NullPool, connect_args=arguments)
        except (exc.ArgumentError, exc.NoSuchModuleError, ValueError):
            raise InvalidInput(f"{self.name}: its URL is none") from None  # which may hold a password
        except ImportError as error:
            raise missing(self.name, "its driver", error) from None
        sqlalchemy.event.listen(engine, "connect", lambda connection, _: prepare(connection))
        return engine

    def _prepare_postgresql(self, connection: Any) -> None:
        """Every transaction is read-only; it cannot be made another by a SELECT, which has its snapshot by then."""
        connection.read_only = True
        connection.execute(f"SET statement_timeout = {max(1, round(self._timeout_seconds * 1000))}")
        connection.commit()

    def _prepare_sqlite(self, connection: Any) -> None:
        connection.execute("PRAGMA query_only = ON")
        until = time.monotonic() + self._timeout_seconds
        connection.set_progress_handler(lambda: time.monotonic() > until, _LOOKS)

    @contextlib.contextmanager
    def connected(self) -> Iterator[Any]:
        """See ``Database``; of what keeps it from connecting, only the server's log tells, as that has the address."""
        try:
            raw = self._engine.raw_connection()
        except Exception as error:
            if not is_of_database(error):
                raise
            _log.warning("%s cannot be opened: %s", self.name, first_line(error))
            raise InvalidInput(f"{self.name} cannot be opened: its operator finds why in the server's log") from None
        try:
            yield raw.driver_connection
        except Exception as error:
            if not is_of_database(error):
                raise
            raise InvalidInput(f"{self.name}: {first_line(error)}") from None
        finally:
            with contextlib.suppress(Exception):  # of a connection that is lost; what happened is raised already
                raw.rollback()
            raw.close()


def query_of_table(table: str, columns: list[str] | None, where: list[Any]) -> tuple[str, dict[str, Any]]:
    """A statement for the rows of a table, and its parameters: names are quoted, and values bound.

    Raises:
        InvalidInput: a condition is none.
    """
    chosen = "*" if columns is None else ", ".join(map(_quoted, columns))
    parameters: dict[str, Any] = {}
    tests = [_test(condition, parameters) for condition in conditions_of(where)]
    text = f"SELECT {chosen} FROM {'.'.join(map(_quoted, table.split('.')))}"  # noqa: S608 - quoted
    return text + (f" WHERE {' AND '.join(tests)}" if tests else ""), parameters


def _test(condition: Condition, parameters: dict[str, Any]) -> str:
    values = condition.value if condition.operator == "in" else (condition.value,)
    marks = []
    for value in values:
        marks.append(f":value_{len(parameters)}")
        parameters[marks[-1][1:]] = value
    if condition.operator == "in":
        return f"{_quoted(condition.column)} IN ({', '.join(marks)})" if marks else "1 = 0"
    return f"{_quoted(condition.column)} {'<>' if condition.operator == '!=' else condition.operator} {marks[0]}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
