"""Queue, blobs, doorbell and keys of the embedded grid keep the contracts of their ports."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from htcgrid_core.adapters.local.blobs import FileBlobs
from htcgrid_core.adapters.local.doorbell import FifoDoorbell
from htcgrid_core.adapters.local.keys import FileKeys
from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.adapters.local.sqlite.queue import TableQueue
from htcgrid_core.adapters.local.sqlite.store import SqliteStore
from htcgrid_core.codecs.mapped import MAPPED_BYTES
from htcgrid_core.disk.cache import DiskCache
from htcgrid_core.testing.contracts import BlobStoreContract, BundleQueueContract, DoorbellContract, KeyStoreContract


class TestTableQueue(BundleQueueContract):
    @pytest.fixture
    def database(self, tmp_path: Path) -> Database:
        return Database(tmp_path / "grid.db")

    @pytest.fixture
    def store(self, database: Database) -> SqliteStore:
        return SqliteStore(database)

    @pytest.fixture
    def queue(self, database: Database) -> TableQueue:
        return TableQueue(database)


class TestFileBlobs(BlobStoreContract):
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> FileBlobs:
        return FileBlobs(tmp_path / "blobs", DiskCache(tmp_path / "unpacked", 1 << 30))

    @pytest.fixture
    def large(self, blobs: FileBlobs) -> bytes:
        """What ``sessions/large`` holds."""
        data = b"0123456789abcdef" * (MAPPED_BYTES // 8)
        blobs.put("sessions/large", data)
        return data

    def test_what_a_reader_writes_stays_with_him(self, blobs: FileBlobs, large: bytes) -> None:
        """A large part is his own, also where it is a map of the file; and it stays when the blob is deleted."""
        part = blobs.get_range("sessions/large", 5, MAPPED_BYTES)
        assert isinstance(part, memoryview)
        part[0:3] = b"???"
        assert blobs.get_range("sessions/large", 5, MAPPED_BYTES) == large[5 : 5 + MAPPED_BYTES]
        assert blobs.get("sessions/large") == large
        blobs.delete_prefix("sessions/")
        assert part == b"???" + large[8 : 5 + MAPPED_BYTES]

    def test_a_large_part_ends_with_its_blob(self, blobs: FileBlobs, large: bytes) -> None:
        assert blobs.get_range("sessions/large", len(large) - 7, 2 * MAPPED_BYTES) == large[-7:]

    def test_many_large_parts_leave_half_of_the_descriptors_to_others(
        self, blobs: FileBlobs, large: bytes, tmp_path: Path
    ) -> None:
        """A client may hold any number of results."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with open(tmp_path / "lowest", "wb") as lowest:
            few = 2 * lowest.fileno() + 40
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
        try:
            held = [blobs.get_range("sessions/large", 0, MAPPED_BYTES) for _ in range(few)]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert all(part == large[:MAPPED_BYTES] for part in held)


class TestFifoDoorbell(DoorbellContract):
    @pytest.fixture
    def doorbell(self, tmp_path: Path) -> FifoDoorbell:
        return FifoDoorbell(tmp_path / "bells")


class TestFileKeys(KeyStoreContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Callable[[], FileKeys]:
        return lambda: FileKeys(tmp_path)
