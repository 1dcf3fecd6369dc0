"""Delta tables as events: one version, file by file in the order of their paths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from htcgrid_core.client.files.arrow_values import json_values, python_values
from htcgrid_core.client.files.parquet_events import parquet_batches, rows_of
from htcgrid_core.data.base import Source, missing, shown
from htcgrid_core.data.filters import conditions_of, kept
from htcgrid_core.data.partitions import with_columns
from htcgrid_core.domain.errors import InvalidInput


class DeltaSource(Source):
    """The rows of a Delta table at a version, which stays the same whatever is written to it meanwhile.

    Args:
        uri: of the table.
        version: the newest one unless given.
        columns, where: only these columns, and only rows that satisfy all of these.
        storage_options: as deltalake takes them.
    """

    def __init__(
        self,
        uri: str,
        version: int | None = None,
        *,
        columns: Sequence[str] | None = None,
        where: Iterable[Sequence[Any] | str] = (),
        storage_options: Mapping[str, str] | None = None,
    ) -> None:
        try:
            import deltalake
            import deltalake.exceptions
            import pyarrow.parquet  # noqa: F401 - read with, below
        except ImportError as error:
            raise missing(f"{uri}: reading Delta", "deltalake", error) from error
        try:
            # Kept whole: which files a version has is not asked of a table that is written to.
            table = deltalake.DeltaTable(uri, version=version, storage_options=dict(storage_options or {}) or None)
            self._dataset = table.to_pyarrow_dataset()
        except (deltalake.exceptions.DeltaError, OSError, ValueError) as error:
            raise InvalidInput(shown(f"{uri} cannot be read as Delta: {error}")) from None
        self.version = table.version()
        self.name = f"{shown(uri)}@{self.version}"
        self._table_id = table.metadata().id
        self._partitions = set(table.metadata().partition_columns)
        self._columns = None if columns is None else list(columns)
        self._conditions = conditions_of(where)
        for column in [*(self._columns or []), *(one.column for one in self._conditions)]:
            if column not in self._dataset.schema.names:
                names = ", ".join(sorted(self._dataset.schema.names))
                raise InvalidInput(f"{self.name}: there is no column {column!r}: {names}")

    def identity(self) -> str:
        """The table's own id, its version and what of it is read."""
        return f"delta {self._table_id} {self.version} {self._columns!r} {self._conditions!r}"

    def rows(self, *, as_json: bool) -> Iterator[Any]:
        """See ``Source``."""
        convert = (lambda array: json_values(array, "text")) if as_json else python_values
        return rows_of(self._batches(), self.name, convert)

    def _batches(self) -> Iterator[Any]:
        import pyarrow as arrow
        import pyarrow.dataset as dataset

        for fragment in sorted(self._dataset.get_fragments(), key=lambda one: str(one.path)):
            values = dataset.get_partition_keys(fragment.partition_expression)
            kinds = {name: self._dataset.schema.field(name).type for name in self._partitions}
            scalars = {name: arrow.scalar(values.get(name), kinds[name]) for name in self._partitions}
            row = arrow.RecordBatch.from_pydict({name: arrow.repeat(one, 1) for name, one in scalars.items()})
            mine = [one for one in self._conditions if one.column in scalars]
            if mine and not kept(row, mine, self.name).num_rows:
                continue
            try:
                stream = self._dataset.filesystem.open_input_file(fragment.path)
            except OSError as error:
                raise InvalidInput(f"{self.name}: {fragment.path} cannot be read: {error}") from error
            with stream:
                for batch in parquet_batches(stream, f"{self.name}, {fragment.path}"):
                    whole = self._as_table_has_it(with_columns(batch, scalars))
                    found = kept(whole, self._conditions, self.name)
                    yield found if self._columns is None else found.select(self._columns)

    def _as_table_has_it(self, batch: Any) -> Any:
        """A batch with the table's columns: those that came later are null in older files."""
        import pyarrow as arrow

        columns = []
        for field in self._dataset.schema:
            at = batch.schema.get_field_index(field.name)
            columns.append(arrow.nulls(batch.num_rows, field.type) if at < 0 else batch.column(at).cast(field.type))
        return arrow.RecordBatch.from_arrays(columns, schema=self._dataset.schema)
