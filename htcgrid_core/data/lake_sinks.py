"""Results in Delta and Iceberg: a session's rows replaced in one commit, which another writer's cannot come between."""

from __future__ import annotations

import random
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from htcgrid_core.client.result_sink import SESSION, ResultRows
from htcgrid_core.data.base import missing, shown
from htcgrid_core.data.fitting import check_case, fitted, streamed
from htcgrid_core.domain.errors import GridUnavailable, InvalidInput

TRIES = 20
LONGEST_PAUSE_SECONDS = 2.0


def _tried(name: str, commit: Callable[[], None], conflicts: tuple[type[Exception], ...]) -> None:
    """Commit, and again when another commit came between: with the table as it is then, and the same rows.

    Raises:
        GridUnavailable: others kept coming between.
    """
    for number in range(TRIES):
        try:
            commit()
        except conflicts as error:
            conflict = error
            time.sleep(random.uniform(0, min(LONGEST_PAUSE_SECONDS, 0.05 * 2**number)))  # noqa: S311 - not a secret
        else:
            return
    raise GridUnavailable(f"{name} was not written, since others kept writing to it: {conflict}") from conflict


class DeltaSink:
    """A Delta table, made if there is none.

    Args:
        partition_by: columns to partition a new table by.
        storage_options: as deltalake takes them.
    """

    def __init__(
        self, uri: str, *, partition_by: Sequence[str] = (), storage_options: Mapping[str, str] | None = None
    ) -> None:
        self.name = shown(uri)
        self._uri = uri
        self._partition_by = list(partition_by)
        self._storage_options = dict(storage_options or {}) or None

    def check(self) -> None:
        """See ``ResultSink``."""
        try:
            import deltalake  # noqa: F401 - whether it is there
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise missing(f"{self.name}: writing Delta", "deltalake", error) from error
        self._table()

    def replace(self, rows: ResultRows) -> None:
        """See ``ResultSink``."""
        from deltalake.exceptions import CommitFailedError, DeltaError

        try:
            _tried(self.name, lambda: self._commit(rows), (CommitFailedError, _Made))
        except (DeltaError, OSError) as error:
            raise GridUnavailable(shown(f"{self.name} was not written: {error}")) from error
        except Exception as error:
            if type(error) is not Exception:
                raise
            # So deltalake tells of data that it cannot write.
            raise InvalidInput(shown(f"session {rows.session}: {self.name} was not written: {error}")) from error

    def _commit(self, rows: ResultRows) -> None:
        from deltalake import write_deltalake
        from deltalake.exceptions import DeltaError

        table = self._table()
        if table is None:
            self._check_types(rows)
            check_case(rows, self.name)
            try:
                with streamed(rows.schema(), rows.batches()) as reader:
                    write_deltalake(
                        self._uri,
                        reader,
                        mode="error",
                        partition_by=self._partition_by or None,
                        storage_options=self._storage_options,
                    )
            except DeltaError as error:
                if self._table() is not None:  # by another writer meanwhile
                    raise _Made from error
                raise
            return
        schema, batches = fitted(rows, _schema_of(table), self.name)
        session = rows.session.replace("'", "''")
        with streamed(schema, batches) as reader:
            write_deltalake(table, reader, mode="overwrite", predicate=f"{SESSION} = '{session}'")

    def _check_types(self, rows: ResultRows) -> None:
        """Whether Delta has all types of a new table; its own library would say so as no kind of error.

        Raises:
            InvalidInput: it has not.
        """
        import pyarrow.types as are

        for field in rows.schema():
            if wrong := next((kind for kind in _all_of(field.type) if _is_none_of_deltas(are, kind)), None):
                raise InvalidInput(
                    f"session {rows.session}: {self.name} was not written: column {field.name!r} has {wrong}, which "
                    "Delta has not: write it as a text or a number"
                )
            if field.name in self._partition_by and field.type.num_fields:
                raise InvalidInput(
                    f"session {rows.session}: {self.name} was not written: column {field.name!r} is {field.type}, by "
                    "which no table is partitioned"
                )

    def _table(self) -> Any:
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        try:
            return DeltaTable(self._uri, storage_options=self._storage_options)
        except TableNotFoundError:
            return None
        except Exception as error:  # noqa: BLE001 - raised again, without what may hold a password
            raise InvalidInput(shown(f"{self.name} cannot be opened as Delta: {error}")) from None


class _Made(Exception):
    """Another writer has made the table."""


def _all_of(kind: Any) -> Iterator[Any]:
    """A type, and those of its parts."""
    yield kind
    for number in range(kind.num_fields):
        yield from _all_of(kind.field(number).type)


def _is_none_of_deltas(are: Any, kind: Any) -> bool:
    return bool(are.is_time(kind) or are.is_duration(kind) or are.is_decimal256(kind) or are.is_interval(kind))


def _schema_of(table: Any) -> Any:
    import pyarrow as arrow

    return arrow.schema(table.schema().to_arrow())


class IcebergSink:
    """An Iceberg table, which exists.

    Args:
        open_table: gives pyiceberg's table, as it is now.
    """

    def __init__(self, open_table: Callable[[], Any]) -> None:
        self._open = open_table
        self.name = ".".join(open_table().name())

    def check(self) -> None:
        """See ``ResultSink``."""
        names = self._open().schema().as_arrow().names
        for column in (SESSION, "task_index"):
            if column not in names:
                raise InvalidInput(f"{self.name} has no column {column!r}, by which a session's rows are replaced")

    def replace(self, rows: ResultRows) -> None:
        """See ``ResultSink``."""
        from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException, ValidationException

        conflicts = (CommitFailedException, CommitStateUnknownException, ValidationException)
        try:
            _tried(self.name, lambda: self._commit(rows), conflicts)
        except OSError as error:
            raise GridUnavailable(f"{self.name} was not written: {error}") from error

    def _commit(self, rows: ResultRows) -> None:
        from pyiceberg.expressions import EqualTo

        table = self._open()
        schema, batches = fitted(rows, _without_large(table.schema().as_arrow()), self.name)
        with streamed(schema, batches) as reader, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Delete operation did not match", UserWarning)  # of a session that is new
            table.overwrite(reader, overwrite_filter=EqualTo(SESSION, rows.session))


def _without_large(schema: Any) -> Any:
    """Pyiceberg's schema with the types that results have: texts and lists of up to two gigabytes."""
    import pyarrow as arrow

    return arrow.schema([arrow.field(one.name, _small(one.type), one.nullable) for one in schema])


def _small(kind: Any) -> Any:
    import pyarrow as arrow

    return arrow.string() if arrow.types.is_large_string(kind) else kind
