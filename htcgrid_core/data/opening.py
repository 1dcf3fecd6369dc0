"""``source`` and ``sink``: whatever holds rows, as events, and as a place for results."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from htcgrid_core.client.result_sink import ResultSink
from htcgrid_core.data.base import Source, shown
from htcgrid_core.data.streams.opening import is_stream
from htcgrid_core.domain.errors import InvalidInput

SQL = ("sqlite", "postgresql", "postgres", "mysql", "mariadb", "mssql", "oracle", "snowflake", "redshift", "duckdb")

_OTHERS = (".csv", ".tsv", ".json", ".ndjson", ".txt", ".arrow", ".feather", ".avro", ".orc", ".xlsx", ".zst", ".bz2")


def source(place: Any, **options: Any) -> Source:
    """The rows of a place as the events of a session, for ``Grid.submit``.

    Args:
        place: one of these; each has options of its own:

            - the path or URI of a file, a folder or a pattern of files of one kind, Parquet, Arrow IPC, JSON Lines or
              CSV: ``kind`` (if the names do not tell), and ``columns``, ``where``, ``partitions`` of the first two,
              ``separator``, ``decimal``, ``quote``, ``encoding`` of CSV, ``decimals`` of Parquet;
            - a folder with a Delta table, or ``delta:PATH``: ``version``, ``columns``, ``where``,
              ``storage_options``;
            - an Iceberg table, ``iceberg://CATALOG/NAMESPACE.TABLE`` or pyiceberg's: ``snapshot``, ``columns``,
              ``where``;
            - a database, by its URL for SQLAlchemy, an engine or a connection of SQLAlchemy, of its driver or of ADBC,
              a hook of Airflow, a block of Prefect: ``query``, ``parameters``, ``order_by``;
            - a data frame of pandas or polars, a table of pyarrow, or a stream of its batches.
        options: ``where`` is a list of (column, operator, value), all of which must hold; ``columns`` a list.

    Raises:
        InvalidInput: it cannot be read, or has no such option. What is wrong inside is raised when events are taken.
    """
    with _told("source"):
        return _source(place, options)


def _source(place: Any, options: dict[str, Any]) -> Source:
    from htcgrid_core.data import frames

    if isinstance(place, Source):
        return place
    if isinstance(place, str | os.PathLike):
        return _by_uri(os.fspath(place), options)
    if frames.is_frame(place):
        return frames.FrameSource(place, **options)
    if frames.is_stream(place):
        return frames.StreamSource(place, **options)
    if hasattr(place, "current_snapshot"):
        from htcgrid_core.data.iceberg_source import IcebergSource

        return IcebergSource(place, **options)
    return _of_database(place, options)


def _by_uri(uri: str, options: dict[str, Any]) -> Source:
    if is_database(uri) or ("://" in uri and "query" in options):
        return _of_database(uri, options)
    if uri.startswith("iceberg://"):
        from htcgrid_core.data.iceberg_source import IcebergSource, iceberg_table

        return IcebergSource(iceberg_table(uri), **options)
    if uri.startswith("delta:") or _is_delta(uri):
        from htcgrid_core.data.delta_source import DeltaSource

        return DeltaSource(os.path.expanduser(uri.removeprefix("delta:")), **options)
    from htcgrid_core.data.folder import FolderSource
    from htcgrid_core.data.places import place_of

    return FolderSource(place_of(uri), **options)


def _of_database(place: Any, options: dict[str, Any]) -> Source:
    from htcgrid_core.data.connections import Database
    from htcgrid_core.data.sql_source import SqlSource

    database = Database(place)
    if "query" not in options:
        raise InvalidInput(f"{database.name} is a database: say which rows with query=")
    return SqlSource(database, **options)


def is_database(uri: str) -> bool:
    """Whether a URI is a database's."""
    return uri.partition(":")[0].partition("+")[0].lower() in SQL and "://" in uri


def sink(place: Any, **options: Any) -> ResultSink:
    """A place for results, for ``Session.write``.

    Args:
        place: one of these; each has options of its own:

            - the path of a file ``.jsonl``, ``.jsonl.gz`` or ``.parquet`` of this machine, for one session;
            - the path or URI of a folder of sessions: ``kind``, "parquet" (unless said) or "jsonl"; ``partition_by`` of
              Parquet;
            - a Delta table, which is made if there is none: ``delta:PATH``, or a folder that is one: ``partition_by``,
              ``storage_options``;
            - an Iceberg table, which exists: ``iceberg://CATALOG/NAMESPACE.TABLE``, or pyiceberg's;
            - a database, as for ``source``: ``table``, which is made if there is none;
            - a stream, to which records are appended: ``kafka://HOST:PORT/TOPIC``, once for each session, or
              ``kinesis://NAME?region=R``, at least once.

    Raises:
        InvalidInput: it is none of these, or has no such option.
    """
    with _told("sink"):
        return _sink(place, options)


def _sink(place: Any, options: dict[str, Any]) -> ResultSink:
    if isinstance(place, ResultSink):
        return place
    if isinstance(place, str | os.PathLike):
        return _sink_by_uri(os.fspath(place), options)
    if hasattr(place, "current_snapshot"):
        from htcgrid_core.data.lake_sinks import IcebergSink

        return IcebergSink(place.refresh, **options)
    return _sink_of_database(place, options)


def _sink_by_uri(uri: str, options: dict[str, Any]) -> ResultSink:
    if is_stream(uri):
        from htcgrid_core.data.streams.opening import open_writer
        from htcgrid_core.data.streams.sink import StreamSink

        return StreamSink(open_writer(uri), **options)
    if is_database(uri) or ("://" in uri and "table" in options):
        return _sink_of_database(uri, options)
    if uri.startswith("iceberg://"):
        from htcgrid_core.data.iceberg_source import iceberg_table
        from htcgrid_core.data.lake_sinks import IcebergSink

        return IcebergSink(lambda: iceberg_table(uri), **options)
    if uri.startswith("delta:") or _is_delta(uri):
        from htcgrid_core.data.lake_sinks import DeltaSink

        return DeltaSink(os.path.expanduser(uri.removeprefix("delta:")), **options)
    from htcgrid_core.data.file_sinks import FileSink, FolderSink

    bare = uri.lower().removesuffix(".gz")
    kind = next((kind for kind in ("jsonl", "parquet") if bare.endswith(f".{kind}")), None)
    if kind is None:
        if bare.endswith(_OTHERS):
            raise InvalidInput(f"{shown(uri)}: results are written as .jsonl, .jsonl.gz or .parquet, or into a folder")
        return FolderSink(uri, options.pop("kind", "parquet"), **options)
    if "://" in uri and not uri.startswith("file://"):
        raise InvalidInput(
            f"{shown(uri)}: in object storage results are a folder, so that a part of them is told from all"
        )
    if kind == "parquet" and bare != uri.lower():
        raise InvalidInput(f"{uri}: Parquet is compressed inside: leave .gz out")
    return FileSink(os.path.expanduser(uri.removeprefix("file://")), kind, **options)  # type: ignore[arg-type]


def _sink_of_database(place: Any, options: dict[str, Any]) -> ResultSink:
    from htcgrid_core.data.connections import Database
    from htcgrid_core.data.sql_sink import SqlSink

    database = Database(place)
    if "table" not in options:
        raise InvalidInput(f"{database.name} is a database: say where in it with table=")
    return SqlSink(database, **options)


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """An option that a place has not, in one sentence."""
    try:
        yield
    except TypeError as error:
        if "argument" not in str(error):
            raise
        raise InvalidInput(f"the {what} cannot be opened: {str(error).partition('() ')[2] or error}") from error


def _is_delta(uri: str) -> bool:
    return os.path.isdir(os.path.join(os.path.expanduser(uri.removeprefix("file://")), "_delta_log"))
