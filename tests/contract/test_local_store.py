"""The SQLite store keeps the contract of SessionStore."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.adapters.local.sqlite.store import SqliteStore
from htcgrid_core.testing.contracts import SessionStoreContract


class TestSqliteStore(SessionStoreContract):
    """On a file, each thread and each client with connections of its own."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "grid.db"

    @pytest.fixture
    def store(self, path: Path) -> SqliteStore:
        return SqliteStore(Database(path))

    @pytest.fixture
    def connect(self, store: SqliteStore, path: Path) -> Callable[[], SqliteStore]:
        return lambda: SqliteStore(Database(path))
