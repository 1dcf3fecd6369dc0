"""Folders of files as events: Parquet and Arrow IPC with partitions and filters, JSON Lines and CSV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Literal

from htcgrid_core.client.event_files import events_from, header_in
from htcgrid_core.client.files.arrow_values import json_values, python_values
from htcgrid_core.client.files.compression import SUFFIXES
from htcgrid_core.client.files.parquet_events import check_names, parquet_batches, rows_of
from htcgrid_core.data.arrow_files import ipc_batches, ipc_schema
from htcgrid_core.data.base import Source, missing
from htcgrid_core.data.filters import conditions_of, kept
from htcgrid_core.data.partitions import scalars_of, types_of, values_in, with_columns
from htcgrid_core.data.places import Found, Place
from htcgrid_core.domain.errors import InvalidInput

FileFormat = Literal["parquet", "arrow", "jsonl", "json", "csv"]
_FORMATS: dict[str, FileFormat] = {
    ".parquet": "parquet", ".arrow": "arrow", ".arrows": "arrow", ".feather": "arrow", ".ipc": "arrow",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "csv",
}  # fmt: skip
_TABLES = ("parquet", "arrow")


class FolderSource(Source):
    """Files in the order of their paths as texts, so that ``day=10`` stands before ``day=2``.

    Args:
        columns: only these, in this order; of Parquet and Arrow.
        where: only rows that satisfy all of these; of Parquet and Arrow. Folders that cannot hold any are not read.
        partitions: types of values in the names of folders, such as ``{"day": "date"}``; texts unless given.
        options: how each file is to be read, as for ``events_in``.
    """

    def __init__(
        self,
        place: Place,
        kind: FileFormat | None = None,
        *,
        columns: Sequence[str] | None = None,
        where: Iterable[Sequence[Any] | str] = (),
        partitions: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        self.name = place.name
        self._place = place
        self._files = place.files()
        self.kind = self._kind = kind or _kind_of(self._files, place.name)
        self._conditions = conditions_of(where)
        self._columns = None if columns is None else list(columns)
        self._decimals = options.pop("decimals", "text") if self._kind in _TABLES else "text"
        self._partitions = dict(partitions or {})
        self._options = options
        if self._kind in _TABLES:
            if options:
                raise InvalidInput(f"{self.name}: {self._kind} is read without {', '.join(sorted(options))}")
            self._check_schemas()
        elif self._conditions or columns is not None or partitions:
            raise InvalidInput(f"{self.name}: columns, where and partitions are of Parquet and Arrow, not {self._kind}")
        elif self._kind == "csv" and len(self._files) > 1:
            self._check_headers()

    def identity(self) -> str:
        """Paths, sizes and times of all files, and what of them is read."""
        files = "\n".join(f"{one.inside}\0{one.size}\0{one.modified}" for one in self._files)
        chosen = [self._columns, self._conditions, self._partitions, sorted(self._options.items()), self._decimals]
        return f"{self._kind} {self.name} {chosen!r}\n{files}"

    def rows(self, *, as_json: bool) -> Iterator[Any]:
        """See ``Source``.

        Raises:
            InvalidInput: a file is damaged, or is another than when the source was made, or a value cannot be had.
        """
        for file in self._files:
            with self._opened(file) as stream:
                yield from self._events(file, stream, as_json)
            self._check_same(file)

    def _opened(self, file: Found) -> BinaryIO:
        self._check_same(file)
        return self._place.open(file.path)

    def _events(self, file: Found, stream: BinaryIO, as_json: bool) -> Iterator[Any]:
        if self._kind not in _TABLES:
            yield from events_from(stream, file.path, self._kind, **self._options)  # type: ignore[arg-type]
            return
        batches = self._chosen(file, stream)
        convert = (lambda array: json_values(array, self._decimals)) if as_json else python_values
        yield from rows_of(batches, file.path, convert)

    def _chosen(self, file: Found, stream: BinaryIO) -> Iterator[Any]:
        """The batches of one file, with what its path says and without what is not wanted."""
        scalars = scalars_of(values_in(file.inside), types_of(self._partitions), file.path)
        if self._is_pruned(scalars, file):
            return
        read = parquet_batches if self._kind == "parquet" else ipc_batches
        wanted = None
        if self._columns is not None:
            needed = {*self._columns, *(one.column for one in self._conditions)}
            wanted = [name for name in self._schema.names if name in needed]
        for batch in read(stream, file.path, wanted):
            found = kept(with_columns(batch, scalars), self._conditions, file.path)
            yield found if self._columns is None else found.select(self._columns)

    def _is_pruned(self, scalars: Mapping[str, Any], file: Found) -> bool:
        """Whether what the path says satisfies no condition; what stands in the file as well is asked there."""
        import pyarrow as arrow

        mine = [one for one in self._conditions if one.column in scalars and one.column not in self._schema.names]
        if not mine:
            return False
        row = arrow.RecordBatch.from_pydict({name: arrow.repeat(one, 1) for name, one in scalars.items()})
        return not kept(row, mine, file.path).num_rows

    def _check_same(self, file: Found) -> None:
        if self._place.look(file.path) != (file.size, file.modified):
            raise InvalidInput(
                f"{file.path} has changed since the source was opened: nothing is submitted of what was read; open it "
                "again when nobody writes to it"
            )

    def _check_schemas(self) -> None:
        """Read all footers: a column that another file lacks, or has of another type, would be guessed at.

        Raises:
            InvalidInput: two files differ, with the column; or one is damaged.
        """
        self._schema: Any = None
        names: list[str] = []
        for file in self._files:
            with self._place.open(file.path) as stream:
                schema = _schema_of(self._kind, stream, file.path)
            inside = list(values_in(file.inside))
            if self._schema is None:
                self._schema, names, first = schema, inside, file
                check_names(schema, file.path)
                continue
            _check_alike(schema, self._schema, file.path, first.path)
            if inside != names:
                raise InvalidInput(f"{file.path} and {first.path} are in folders of other partitions")
        known = {*self._schema.names, *names}
        for name in [*(self._columns or []), *(one.column for one in self._conditions), *self._partitions]:
            if name not in known:
                raise InvalidInput(f"{self.name}: there is no column {name!r}: {', '.join(sorted(known))}")

    def _check_headers(self) -> None:
        """Read all headers of CSV: rows of other columns would be other events.

        Raises:
            InvalidInput: two files differ, with the column; or one has no header.
        """
        first: tuple[str, list[str]] | None = None
        for file in self._files:
            with self._place.open(file.path) as stream:
                names = header_in(stream, file.path, **self._options)
            path, known = first = first or (file.path, names)
            for column in known:
                if column not in names:
                    raise InvalidInput(f"{file.path} has no column {column!r}, which {path} has")
            for column in names:
                if column not in known:
                    raise InvalidInput(f"{path} has no column {column!r}, which {file.path} has")


def _kind_of(files: Sequence[Found], name: str) -> FileFormat:
    kinds = {_format_of(file.path) for file in files}
    if len(kinds) > 1 or None in kinds:
        known = ", ".join(sorted(kind or "others" for kind in kinds))
        raise InvalidInput(
            f"{name}: the files are of several kinds or of none that is known ({known}): say which format"
        )
    (kind,) = kinds
    assert kind is not None
    return kind


def _format_of(path: str) -> FileFormat | None:
    bare = path.lower()
    for suffix in SUFFIXES:
        bare = bare.removesuffix(suffix)
    return next((kind for suffix, kind in _FORMATS.items() if bare.endswith(suffix)), None)


def _schema_of(kind: str, stream: BinaryIO, path: str) -> Any:
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise missing(f"{path}: reading {kind}", "pyarrow", error) from error
    try:
        return parquet.read_schema(stream) if kind == "parquet" else ipc_schema(stream)
    except (arrow.ArrowException, OSError) as error:
        raise InvalidInput(f"{path}: not {kind}, or damaged, or cut short ({error})") from error


def _check_alike(schema: Any, first: Any, path: str, first_path: str) -> None:
    for field in first:
        at = schema.get_field_index(field.name)
        if at < 0:
            raise InvalidInput(f"{path} has no column {field.name!r}, which {first_path} has")
        if schema.field(at).type != field.type:
            kinds = f"{schema.field(at).type}, and {field.type} in {first_path}"
            raise InvalidInput(f"{path}: column {field.name!r} is {kinds}")
    for name in schema.names:
        if name not in first.names:
            raise InvalidInput(f"{first_path} has no column {name!r}, which {path} has")
