"""The blob store: large payloads, functions and shared inputs, under keys of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class BlobStore(Protocol):
    """Whole-object writes that are atomic; a key is never overwritten with other bytes."""

    def put(self, key: str, data: bytes) -> None:
        """Store ``data``; a key that exists is left alone."""

    def get(self, key: str) -> bytes:
        """Read a blob.

        Raises:
            CorruptPayload: there is no such blob.
        """

    def exists(self, key: str) -> bool:
        """Whether there is a blob under ``key``."""

    def keys(self, prefix: str) -> list[str]:
        """Keys of the blobs below ``prefix`` (which ends with a slash), in order; one being written may be missing."""

    def path(self, key: str) -> Path:
        """A file on this machine with the blob's bytes, fetched if need be."""

    def delete_prefix(self, prefix: str) -> None:
        """Delete every blob whose key begins with ``prefix``."""
