"""The blob store: large payloads, functions and shared inputs, under keys of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from htcgrid_core.codecs.buffers import Buffer, Data


class BlobStore(Protocol):
    """Whole-object writes that are atomic; a key is never overwritten with other bytes."""

    def put(self, key: str, data: Data) -> None:
        """Store ``data``; a key that exists keeps its bytes, and counts as used now."""

    def put_file(self, key: str, path: Path) -> None:
        """Store a file's bytes as ``put`` does; they are read in pieces.

        Args:
            key: ends with their SHA-256.

        Raises:
            InvalidInput: the file cannot be read, changed while it was, or is larger than the store takes.
        """

    def claim(self, key: str, data: bytes) -> bytes:
        """Store ``data`` unless the key exists, and return what is stored: the same for all who claim it.

        It survives the death of any process, but perhaps no power failure.
        """

    def get(self, key: str) -> bytes:
        """Read a blob.

        Raises:
            CorruptPayload: there is no such blob.
        """

    def get_range(self, key: str, start: int, length: int) -> Buffer:
        """Bytes of a blob from ``start`` on: ``length`` of them, or as many as there are.

        Raises:
            CorruptPayload: there is no such blob.
        """

    def exists(self, key: str) -> bool:
        """Whether there is a blob under ``key``."""

    def keys(self, prefix: str) -> list[str]:
        """Keys of the blobs below ``prefix`` (which ends with a slash), in order; one being written may be missing."""

    def path(self, key: str) -> Path:
        """A file on this machine with the blob's bytes, fetched if need be, which stays for some minutes."""

    def folder(self, key: str) -> Path:
        """A read-only folder on this machine, of which the blob is the archive (codecs/folders.py).

        It is unpacked once for all processes, and stays for some minutes.

        Args:
            key: ends with the SHA-256 of the archive.

        Raises:
            CorruptPayload: there is no such blob, or it is no such archive, or damaged.
            GridUnavailable: it cannot be unpacked here.
        """

    def own_file(self, key: str) -> Path | None:
        """The file that is the blob, where blobs are files of this machine; None where they are not."""

    def touch(self, key: str) -> bool:
        """Note that a blob is used now, to the day; False if there is none."""

    def delete_unused(self, prefix: str, before: float, keep: Callable[[str], bool]) -> list[str]:
        """Delete blobs below ``prefix`` (which ends with a slash) that were not used since; their keys.

        Args:
            before: wall clock, seconds.
            keep: keys that stay all the same.
        """

    def delete_prefix(self, prefix: str) -> None:
        """Delete every blob whose key begins with ``prefix``."""
