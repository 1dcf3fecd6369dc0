"""Compressed files, told by their first bytes and read as what is in them, never more than is asked for at once."""

from __future__ import annotations

import gzip
import importlib
import io
import sys
import zlib
from typing import Any, BinaryIO, cast

from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.extras import how_to_install

SUFFIXES = (".gz", ".gzip", ".zst", ".zstd")
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"  # no text begins so, in UTF-8
_OTHERS = {
    b"BZh91AY&SY": "compressed with bzip2: .gz and .zst are read",
    b"\xfd7zXZ\x00": "compressed with xz: .gz and .zst are read",
    b"PK\x03\x04": "a zip archive or an Excel workbook: save it as CSV",
    b"PAR1\x15": "Parquet: name it .parquet, or say that it is",
    b"ARROW1\x00\x00": "Arrow's or Feather's own format: save it as Parquet",
    b"Obj\x01": "Avro: save it as Parquet or JSON Lines",
}
_LONGEST = max(map(len, _OTHERS))


def inflated(stream: BinaryIO, name: str) -> BinaryIO:
    """The stream, or what is compressed in it.

    Raises:
        InvalidInput: it is compressed, or written, in a way that is not read here.
    """
    stream = _peekable(stream)
    head = first_bytes(stream)
    if head.startswith(_GZIP):
        return _buffered(gzip.GzipFile(fileobj=stream, mode="rb"), (EOFError, zlib.error))
    if head.startswith(_ZSTD):
        zstd = _zstd(name)
        return _buffered(zstd.ZstdFile(stream), (EOFError, zstd.ZstdError))
    for magic, what in _OTHERS.items():
        if head.startswith(magic):
            raise InvalidInput(f"{name}: the file is {what}")
    return stream


def is_compressed(stream: BinaryIO) -> bool:
    """Whether a stream that can be peeked into is compressed as a whole."""
    return first_bytes(stream).startswith((_GZIP, _ZSTD))


def first_bytes(stream: BinaryIO) -> bytes:
    """What a stream begins with, which is not taken from it."""
    if hasattr(stream, "peek"):
        return bytes(stream.peek(_LONGEST)[:_LONGEST])
    at = stream.tell()
    head = stream.read(_LONGEST)
    stream.seek(at)
    return head


def _peekable(stream: BinaryIO) -> BinaryIO:
    return stream if hasattr(stream, "peek") or stream.seekable() else io.BufferedReader(cast("Any", stream))


def _zstd(name: str) -> Any:
    """Python's own zstd, or the same for older ones."""
    try:
        return importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    except ImportError as error:
        raise InvalidInput(f"{name}: reading .zst needs backports.zstd ({how_to_install('zstd')})") from error


def _buffered(inner: Any, damages: tuple[type[Exception], ...]) -> BinaryIO:
    return io.BufferedReader(_Inflated(inner, damages))


class _Inflated(io.RawIOBase):
    """What is compressed; damage is an OSError, whatever the format calls it."""

    def __init__(self, inner: Any, damages: tuple[type[Exception], ...]) -> None:
        self._inner = inner
        self._damages = damages

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            return int(self._inner.readinto(buffer))
        except self._damages as error:
            raise OSError(f"what is compressed is damaged or cut short: {error}") from error
