"""Results as one file, or as a session's own folder among others."""

from __future__ import annotations

import contextlib
import errno
import gzip
import itertools
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast
from urllib.parse import quote

from htcgrid_core.client.result_sink import SESSION, ResultRows
from htcgrid_core.data.base import missing, shown
from htcgrid_core.data.fitting import streamed
from htcgrid_core.data.places import file_system
from htcgrid_core.domain.errors import GridUnavailable, InvalidInput, NotTabular

Kind = Literal["parquet", "jsonl"]
NAME_BYTES = 255  # of a file system; object storage has a little more
TRIES = 20  # to give a folder its name while others do so
MANIFEST = "_manifest.json"  # readers of folders pass over names that begin so


class FileSink:
    """One file of this machine for one session: JSON Lines, ``.gz`` too, or Parquet. It appears when it is whole."""

    def __init__(self, path: str, kind: Kind) -> None:
        self.name = path
        self._path, self._kind = Path(path), kind

    def check(self) -> None:
        """See ``ResultSink``."""
        _check_library(self._kind, self.name)
        if self._path.is_dir():
            raise InvalidInput(f"{self.name} is a folder")

    def replace(self, rows: ResultRows) -> None:
        """See ``ResultSink``."""
        beside = self._path.with_name(f".{self._path.name[:100]}.{secrets.token_hex(4)}")
        with _told(self.name):
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with open(beside, "wb") as file:
                    _write(rows, file, self._kind, is_compressed=self.name.lower().endswith(".gz"))
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(beside, self._path)
            finally:
                beside.unlink(missing_ok=True)


class FolderSink:
    """A folder of sessions: ``session=ID/``, and below it one of Hive's for each value of the columns to partition by.

    On this machine a session's folder appears whole, by its name. In object storage its files have the same names at
    each try, and ``_manifest.json``, which names them all, comes last: a reader that must not see a part looks for it.

    Args:
        partition_by: columns of the results whose values are in the names of folders instead of in the files.
    """

    def __init__(self, uri: str, kind: Kind, partition_by: Sequence[str] = ()) -> None:
        self.name = shown(uri)
        self._uri, self._kind, self._partition_by = uri.rstrip("/"), kind, list(partition_by)
        if partition_by and kind == "jsonl":
            raise InvalidInput(f"{self.name}: JSON Lines are written without partitions")

    def check(self) -> None:
        """See ``ResultSink``."""
        _check_library(self._kind, self.name)
        if self._is_local and self._local.exists() and not self._local.is_dir():
            raise InvalidInput(f"{self.name} is a file, not a folder")
        if not self._is_local:
            file_system(self._uri)

    def check_session(self, session: str) -> None:
        """See ``NamedSink``."""
        try:
            length = len(_folder_of(session))
        except UnicodeEncodeError as error:
            raise InvalidInput(f"{self.name}: {session!r} cannot be a folder's name: {error.reason}") from None
        if length > NAME_BYTES:
            raise InvalidInput(
                f"{self.name}: the folder of session {session[:40]!r}... would have a name of {length} bytes, of "
                f"{NAME_BYTES} at most: give name= a shorter one"
            )

    @property
    def _is_local(self) -> bool:
        return "://" not in self._uri or self._uri.startswith("file://")

    @property
    def _local(self) -> Path:
        return Path(self._uri.removeprefix("file://")).expanduser()

    def replace(self, rows: ResultRows) -> None:
        """See ``ResultSink``."""
        self.check_session(rows.session)
        folder = _folder_of(rows.session)
        with _told(self.name):
            if self._is_local:
                self._replace_local(rows, self._local / folder)
            else:
                self._replace_remote(rows, folder)

    def _replace_local(self, rows: ResultRows, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = folder.with_name(f".{folder.name[:100]}.{secrets.token_hex(4)}")
        beside.mkdir()
        try:
            self._write_into(rows, _local_system(), str(beside))
            _exchange(beside, folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def _replace_remote(self, rows: ResultRows, folder: str) -> None:
        system, base = file_system(f"{self._uri}/{folder}")
        self._forget_others(system, base, self._write_into(rows, system, base))

    def _forget_others(self, system: Any, base: str, written: Sequence[str]) -> None:
        """Delete the files of what was written before under this name."""
        import pyarrow.fs as fs

        for info in system.get_file_info(fs.FileSelector(base, recursive=True)):
            inside = info.path[len(base) :].lstrip("/")
            if info.type == fs.FileType.File and inside not in written and inside != MANIFEST:
                system.delete_file(info.path)

    def _write_into(self, rows: ResultRows, system: Any, base: str) -> list[str]:
        """Write the files and then what names them; return their paths below ``base``."""
        if self._kind == "jsonl":
            names = ["part-0.jsonl"]
            with system.open_output_stream(f"{base}/{names[0]}") as file:
                _write(rows, file, self._kind)
        else:
            names = self._write_parquet(rows, system, base)
        manifest = {"session": rows.session, "rows": len(rows), "digest": rows.digest(), "files": sorted(names)}
        with system.open_output_stream(f"{base}/{MANIFEST}") as file:
            file.write(json.dumps(manifest, indent=1).encode() + b"\n")
        return names

    def _write_parquet(self, rows: ResultRows, system: Any, base: str) -> list[str]:
        import pyarrow as arrow
        import pyarrow.dataset as dataset

        own = rows.schema()
        for column in self._partition_by:
            if column not in own.names or column == SESSION:
                raise InvalidInput(f"{self.name}: the results have no column {column!r} to partition by")
        schema = own.remove(own.get_field_index(SESSION))  # in the folder's name
        batches = (batch.select(schema.names) for batch in rows.batches())
        names: list[str] = []
        folders = arrow.schema([schema.field(name) for name in self._partition_by])
        with streamed(schema, batches) as reader:
            dataset.write_dataset(
                reader,
                base,
                filesystem=system,
                format="parquet",
                basename_template="part-{i}.parquet",
                partitioning=dataset.partitioning(folders, flavor="hive"),
                existing_data_behavior="overwrite_or_ignore",
                use_threads=False,
                file_visitor=lambda file: names.append(file.path[len(base) :].lstrip("/")),
            )
        return names


def _folder_of(session: str) -> str:
    return f"{SESSION}={quote(session, safe='')}"


def _local_system() -> Any:
    try:
        import pyarrow.fs as fs
    except ImportError:
        return _PlainFiles()
    return fs.LocalFileSystem()


class _PlainFiles:
    """What JSON Lines need of a file system, where pyarrow is not installed."""

    def open_output_stream(self, path: str) -> BinaryIO:
        return open(path, "wb")


def _exchange(beside: Path, folder: Path) -> None:
    """Give a folder its name, in the place of one that has it."""
    for number in itertools.count(1):
        try:
            os.rename(beside, folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or number == TRIES:
                raise
        else:
            return
        old = folder.with_name(f".{folder.name[:100]}.{secrets.token_hex(4)}")
        with contextlib.suppress(FileNotFoundError):  # another writer has put it away
            os.rename(folder, old)
            shutil.rmtree(old, ignore_errors=True)


def _write(rows: ResultRows, file: Any, kind: Kind, *, is_compressed: bool = False) -> None:
    if kind == "jsonl":
        with contextlib.ExitStack() as stack:
            if is_compressed:
                file = stack.enter_context(
                    gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=6)
                )
            for line in rows.lines():
                file.write(line + b"\n")
        return
    import pyarrow.parquet as parquet

    with parquet.ParquetWriter(cast("BinaryIO", file), rows.schema()) as writer:
        for batch in rows.batches():
            writer.write_batch(batch)


def _check_library(kind: Kind, name: str) -> None:
    if kind == "parquet":
        try:
            import pyarrow.dataset  # noqa: F401 - whether it is there
        except ImportError as error:
            raise missing(f"{name}: writing Parquet", "pyarrow", error) from error


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise GridUnavailable(f"{name} cannot be written: {error}") from error
    except ValueError as error:  # pyarrow's are, too
        if isinstance(error, InvalidInput):
            raise
        raise NotTabular(str(error)) from error
