"""Iceberg tables as events: one snapshot, file by file in the order of their paths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from htcgrid_core.client.files.arrow_values import json_values, python_values
from htcgrid_core.client.files.parquet_events import rows_of
from htcgrid_core.data.arrow_files import sliced
from htcgrid_core.data.base import Source, missing
from htcgrid_core.data.filters import Condition, conditions_of
from htcgrid_core.domain.errors import InvalidInput


class IcebergSource(Source):
    """The rows of an Iceberg table at a snapshot. One data file at a time is held in memory.

    Args:
        table: of pyiceberg.
        snapshot: its id; that of the current one unless given.
        columns, where: only these columns, and only rows that satisfy all of these.
    """

    def __init__(
        self,
        table: Any,
        snapshot: int | None = None,
        *,
        columns: Sequence[str] | None = None,
        where: Iterable[Sequence[Any] | str] = (),
    ) -> None:
        current = table.current_snapshot()
        if snapshot is None and current is not None:
            snapshot = current.snapshot_id
        if snapshot is not None and table.snapshot_by_id(snapshot) is None:
            raise InvalidInput(f"{'.'.join(table.name())} has no snapshot {snapshot}")
        self.snapshot = snapshot
        self.name = f"{'.'.join(table.name())}@{snapshot}"
        self._table = table
        self._columns = None if columns is None else list(columns)
        self._conditions = conditions_of(where)
        try:
            self._scan = table.scan(
                row_filter=_expression(self._conditions),
                selected_fields=tuple(self._columns or ("*",)),
                snapshot_id=snapshot,
            )
            self._tasks = sorted(self._scan.plan_files(), key=lambda task: str(task.file.file_path))
        except (ValueError, OSError, TypeError) as error:
            raise InvalidInput(f"{self.name} cannot be read as Iceberg: {error}") from error

    def identity(self) -> str:
        """The table's own id, its snapshot and what of it is read."""
        return f"iceberg {self._table.metadata.table_uuid} {self.snapshot} {self._columns!r} {self._conditions!r}"

    def rows(self, *, as_json: bool) -> Iterator[Any]:
        """See ``Source``."""
        convert = (lambda array: json_values(array, "text")) if as_json else python_values
        return rows_of(self._batches(), self.name, convert)

    def _batches(self) -> Iterator[Any]:
        import pyarrow as arrow
        from pyiceberg.io.pyarrow import ArrowScan

        scan = self._scan
        reader = ArrowScan(scan.table_metadata, scan.io, scan.projection(), scan.row_filter, scan.case_sensitive)
        for task in self._tasks:
            try:
                for batch in reader.to_record_batches([task]):
                    yield from sliced(batch if self._columns is None else batch.select(self._columns))
            except (arrow.ArrowException, OSError, ValueError) as error:
                raise InvalidInput(f"{self.name}: {task.file.file_path} cannot be read: {error}") from error


def iceberg_table(uri: str) -> Any:
    """The table that ``iceberg://CATALOG/NAMESPACE.TABLE`` names; catalogs are those of pyiceberg's configuration.

    Raises:
        InvalidInput: there is none, or pyiceberg is not installed.
    """
    try:
        from pyiceberg.catalog import load_catalog
        from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
    except ImportError as error:
        raise missing(f"{uri}: Iceberg", "pyiceberg", error) from error
    catalog, _, table = uri.removeprefix("iceberg://").partition("/")
    if not catalog or "." not in table:
        raise InvalidInput(f"{uri}: write iceberg://CATALOG/NAMESPACE.TABLE")
    try:
        return load_catalog(catalog).load_table(table)
    except (NoSuchTableError, NoSuchNamespaceError) as error:
        raise InvalidInput(f"{uri}: there is no such table: {error}") from error
    except (ValueError, OSError) as error:
        raise InvalidInput(f"{uri} cannot be opened: {error}") from error


def _expression(conditions: Sequence[Condition]) -> Any:
    from pyiceberg import expressions

    kinds = {
        "=": expressions.EqualTo,
        "!=": expressions.NotEqualTo,
        "<": expressions.LessThan,
        "<=": expressions.LessThanOrEqual,
        ">": expressions.GreaterThan,
        ">=": expressions.GreaterThanOrEqual,
        "in": expressions.In,
    }
    found: Any = expressions.AlwaysTrue()
    for one in conditions:
        found = expressions.And(found, kinds[one.operator](one.column, one.value))
    return found
