"""Connections to databases, however they are given: a URL, SQLAlchemy's or a driver's own, a hook's or a block's."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from htcgrid_core.data.base import missing
from htcgrid_core.domain.errors import InvalidInput

# What gives SQLAlchemy's engine: hooks of Airflow, blocks of Prefect.
_GIVERS = ("get_sqlalchemy_engine", "get_engine")


class Database:
    """A database that is connected to when it is used, or one connection that somebody else closes.

    Attributes:
        name: what errors call it, without its password.
    """

    def __init__(self, given: Any) -> None:
        self._engine: Any = None
        self._connection: Any = None
        if isinstance(given, str):
            self._engine = _engine_of(given)
        elif hasattr(given, "raw_connection"):
            self._engine = given
        elif hasattr(given, "exec_driver_sql") or hasattr(given, "cursor"):
            self._connection = given
        else:
            giver = next((getattr(given, name) for name in _GIVERS if hasattr(given, name)), None)
            if giver is None:
                raise InvalidInput(
                    f"a {type(given).__name__} is no connection to a database: give a URL, an engine or connection of "
                    "SQLAlchemy, a driver's connection, a hook of Airflow or a block of Prefect"
                )
            self._engine = giver()
        used = self._engine if self._connection is None else self._connection
        try:
            self.name = _name_of(used)
        except Exception as error:
            if not is_of_database(error):
                raise
            text = f"the connection of {driver_of(used)} that was given cannot be used: {first_line(error)}"
            raise InvalidInput(text) from error

    @contextlib.contextmanager
    def connected(self) -> Iterator[Any]:
        """A connection of the driver itself, whose transaction is ended by whoever uses it.

        Raises:
            InvalidInput: there is none to be had, or it is lost; the database's own words are in it.
        """
        raw = None
        try:
            if self._connection is None:
                raw = self._engine.raw_connection()
                yield raw.driver_connection
            elif hasattr(self._connection, "exec_driver_sql"):
                yield self._connection.connection.driver_connection
            else:
                yield self._connection
        except Exception as error:
            if not is_of_database(error):
                raise
            raise InvalidInput(f"{self.name}: {first_line(error)}") from error
        finally:
            if raw is not None:
                with contextlib.suppress(Exception):  # of a connection that is lost; what happened is raised already
                    raw.rollback()
                raw.close()


def in_transaction(connection: Any) -> bool | None:
    """Whether a driver's connection has a transaction open; None where nobody can tell."""
    driver = driver_of(connection)
    if driver == "sqlite3":
        return bool(connection.in_transaction)
    if driver in ("psycopg", "psycopg2"):
        return bool(connection.info.transaction_status)  # 0 is idle, with both
    return None


def has_uncommitted(connection: Any, cursor: Any) -> bool:
    """Whether something was written in the transaction that is open; False where nobody can tell."""
    if not in_transaction(connection):
        return False
    if driver_of(connection) == "sqlite3":
        return True  # which reading does not begin
    cursor.execute("SELECT txid_current_if_assigned() IS NOT NULL")
    return bool(cursor.fetchone()[0])


def is_of_database(error: Exception) -> bool:
    """Whether an exception is a driver's or SQLAlchemy's own: all theirs derive from an ``Error`` of the standard."""
    return any(
        kind.__name__ in ("Error", "SQLAlchemyError") and kind.__module__.partition(".")[0] != "builtins"
        for kind in type(error).__mro__
    )


def first_line(error: Exception) -> str:
    """What the database says, without the statement and its values."""
    original = getattr(error, "orig", None) or error
    return str(original).strip().partition("\n")[0] or type(original).__name__


def driver_of(connection: Any) -> str:
    """The package whose connection it is: psycopg, psycopg2, sqlite3."""
    return type(connection).__module__.partition(".")[0]


def _engine_of(url: str) -> Any:
    try:
        import sqlalchemy
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    except ImportError as error:
        raise missing("a database's URL", "sqlalchemy", error) from error
    try:
        url = re.sub(r"\Apostgres(?=[+:])", "postgresql", url)  # as others write it
        return sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
    except (ArgumentError, NoSuchModuleError) as error:
        raise InvalidInput(f"the database's URL is none: {first_line(error)}") from None  # it may hold a password
    except ImportError as error:
        raise InvalidInput(
            f"the driver of {url.partition(':')[0]} is not installed: {error}; another one is named in the URL, as in "
            "postgresql+psycopg://"
        ) from None


def _name_of(given: Any) -> str:
    url = getattr(given, "url", None) or getattr(getattr(given, "engine", None), "url", None)
    if url is not None and hasattr(url, "render_as_string"):
        return str(url.set(query={}).render_as_string(hide_password=True))
    if driver_of(given) == "sqlite3":
        return f"sqlite3, {given.execute('PRAGMA database_list').fetchone()[2] or 'in memory'}"
    if driver_of(given) in ("psycopg", "psycopg2"):
        return f"{driver_of(given)}, {given.info.host}:{given.info.port}/{given.info.dbname}"
    return f"a connection of {driver_of(given)}"
