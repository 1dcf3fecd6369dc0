"""ResultSink: where a session's results go, whole, in the place of what an earlier try wrote."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from htcgrid_core.client.files.plain_values import TAG, untagged
from htcgrid_core.client.files.result_columns import Columns
from htcgrid_core.client.files.row_batches import batched
from htcgrid_core.client.files.spool import Spool
from htcgrid_core.client.result_files import as_json
from htcgrid_core.domain.errors import NotTabular

SESSION, INDEX = "session", "task_index"  # the columns by which rows are known again
_TAG = json.dumps(TAG).encode()


class KeyRows:
    """What of the events stands beside their results, by index, on this machine's disk."""

    def __init__(self) -> None:
        self.columns = Columns()
        self._spool = Spool()

    def close(self) -> None:
        """Delete them."""
        self._spool.close()

    def put(self, keys: Iterator[tuple[int, dict[str, Any], bytes]]) -> None:
        """Add the keys of events, as ``ResultRows.put`` adds rows."""
        self._spool.put(_seen(keys, self.columns))

    def beside(self, indexes: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes, bytes]]:
        """Keys with what has the same index; both are sorted by it."""
        keys = iter(self._spool)
        for index, line in indexes:
            yield index, next(key for at, key in keys if at == index), line


class ResultRows:
    """The rows of one session, on this machine's disk; read as often as a sink needs them, in little memory.

    Attributes:
        session: what stands in the column ``session``, and whose rows are replaced.
        columns: those of the results alone.
    """

    def __init__(self, session: str, keys: KeyRows | None = None) -> None:
        self.session = session
        self.columns = Columns()
        self._keys = keys
        self._spool = Spool()

    def __len__(self) -> int:
        return len(self._spool)

    def close(self) -> None:
        """Delete them."""
        self._spool.close()

    def put(self, rows: Iterator[tuple[int, dict[str, Any], bytes]]) -> None:
        """Add rows by their index: what is in them, and the same as typed JSON.

        Raises:
            NotTabular: a column would have values of different kinds.
        """
        self._spool.put(_seen(rows, self.columns))

    def dicts(self) -> Iterator[dict[str, Any]]:
        """The rows by index, with Python's values: dates, Decimals, UUIDs.

        Raises:
            NotTabular: a result has another value under a key's name than its event.
        """
        return (row for row, _ in self._sized())

    def _sized(self) -> Iterator[tuple[dict[str, Any], int]]:
        for index, key, line in self._lines():
            keys, row = _loaded(key), _loaded(line)
            for name in keys.keys() & row.keys():
                if row[name] != keys[name]:
                    raise NotTabular(f"the result of task {index} has its own {name!r}, another than its event's")
            yield {SESSION: self.session, INDEX: index, **keys, **row}, len(key) + len(line)

    def _lines(self) -> Iterator[tuple[int, bytes, bytes]]:
        if self._keys is not None:
            return self._keys.beside(iter(self._spool))
        return ((index, b"{}", line) for index, line in self._spool)

    def lines(self) -> Iterator[bytes]:
        """The rows by index as JSON, with ISO 8601 texts for dates and times."""
        for row in self.dicts():
            yield as_json(row, row[INDEX])

    def schema(self) -> Any:
        """Arrow's schema, of which each column holds all its values unchanged.

        Raises:
            NotTabular: there is none.
        """
        import pyarrow as arrow

        kinds = dict(self._keys.columns.schema() if self._keys is not None else ())
        kinds |= {name: kind for name, kind in self.columns.schema() if name not in kinds}
        fixed = [
            arrow.field(SESSION, arrow.string(), nullable=False),
            arrow.field(INDEX, arrow.int64(), nullable=False),
        ]
        return arrow.schema([*fixed, *(arrow.field(*one) for one in kinds.items())])

    def is_empty(self, name: str) -> bool:
        """Whether a column beside the fixed ones has nothing but nulls, and so no type of its own."""
        both = [self.columns.top.get(name), self._keys and self._keys.columns.top.get(name)]
        known = [column for column in both if column]
        return bool(known) and all(column.kind is None for column in known)

    def batches(self) -> Iterator[Any]:
        """Arrow's batches of the rows by index."""
        import pyarrow as arrow

        schema = self.schema()
        for rows in batched(self._sized()):
            try:
                yield arrow.RecordBatch.from_pylist(rows, schema=schema)
            except (arrow.ArrowException, ValueError, TypeError) as error:
                first, last = rows[0][INDEX], rows[-1][INDEX]
                raise NotTabular(f"{error}, in tasks {first} to {last}") from error

    def digest(self) -> str:
        """SHA-256 of all rows but for the session's name: the same for the same results, wherever they are written."""
        digest = hashlib.sha256()
        for index, key, line in self._lines():
            digest.update(b"%d %b %b\n" % (index, key, line))
        return f"sha256:{digest.hexdigest()}"


def _loaded(line: bytes) -> dict[str, Any]:
    return json.loads(line, object_pairs_hook=untagged if _TAG in line else None)  # type: ignore[no-any-return]


def _seen(rows: Iterator[tuple[int, dict[str, Any], bytes]], columns: Columns) -> Iterator[tuple[int, bytes]]:
    """Rows without what was seen of them: their columns' types."""
    for index, row, line in rows:
        for name in (SESSION, INDEX):
            if name in row:
                raise NotTabular(f"task {index} has its own {name!r}, the name of a column that all rows have")
        columns.see(row, index)
        yield index, line


@runtime_checkable
class ResultSink(Protocol):
    """A table, a folder or a file.

    Attributes:
        name: what messages and manifests call it, without secrets.
    """

    name: str

    def check(self) -> None:
        """Look, before a session is waited for, whether it can be written to.

        Raises:
            InvalidInput: it cannot.
        """

    def replace(self, rows: ResultRows) -> None:
        """Put these rows in the place of all that it has of their session, at once or not at all.

        To do so again, after whatever became of the time before, changes nothing: it must not depend on a look at what
        is there, which another writer may change after it.

        Raises:
            InvalidInput: the rows do not fit; nothing is written.
            GridUnavailable: it was not written; to do it again may help.
        """


@runtime_checkable
class NamedSink(Protocol):
    """A sink that cannot take every session: where its name is a folder's."""

    def check_session(self, session: str) -> None:
        """Look, before a session is waited for, whether its rows can be written under this name.

        Raises:
            InvalidInput: they cannot.
        """


@dataclass(frozen=True, slots=True)
class Written:
    """What one sink got: a count of rows and their digest."""

    to: str
    rows: int
    digest: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What became of a session's results.

    Attributes:
        session_id: the session that was read.
        session: what stands in the column ``session``.
        results: those of tasks that completed.
        failures: those of tasks that failed or were cancelled; None if nobody asked for them.
    """

    session_id: str
    session: str
    results: Written
    failures: Written | None = field(default=None)

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        from dataclasses import asdict

        return asdict(self)
