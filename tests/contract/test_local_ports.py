"""Queue, blobs, doorbell and keys of the embedded grid keep the contracts of their ports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from htcgrid_core.adapters.local.blobs import FileBlobs
from htcgrid_core.adapters.local.doorbell import FifoDoorbell
from htcgrid_core.adapters.local.keys import FileKeys
from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.adapters.local.sqlite.queue import TableQueue
from htcgrid_core.adapters.local.sqlite.store import SqliteStore
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


class TestFifoDoorbell(DoorbellContract):
    @pytest.fixture
    def doorbell(self, tmp_path: Path) -> FifoDoorbell:
        return FifoDoorbell(tmp_path / "bells")


class TestFileKeys(KeyStoreContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Callable[[], FileKeys]:
        return lambda: FileKeys(tmp_path)
