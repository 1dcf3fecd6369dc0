"""A grid for a module, a PostgreSQL for all, and a catalog of Iceberg for a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Grid, connect
from tests.airflow.system.postgres import binaries, postgres
from tests.e2e.support import fresh_grid


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    """A connection to a grid of two slots."""
    with fresh_grid(tmp_path_factory.mktemp("grid") / "home") as url, connect(url) as grid:
        yield grid


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The URL of a database of PostgreSQL, for its own driver."""
    folder = binaries()
    if folder is None:
        pytest.skip("no PostgreSQL here (apt-get install postgresql)")
    with postgres(folder) as port:
        yield f"postgresql://postgres@127.0.0.1:{port}/airflow"


@pytest.fixture
def database(server: str) -> Iterator[Any]:
    """A connection to an empty schema of that database, which is the default of all who connect after it."""
    import psycopg

    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
        yield connection


@pytest.fixture
def engine_url(server: str, database: Any) -> str:
    """The same for SQLAlchemy."""
    return server.replace("postgresql:", "postgresql+psycopg:")


@pytest.fixture
def catalog(tmp_path: Path) -> Any:
    """A catalog of Iceberg with the namespace ``risk``."""
    from pyiceberg.catalog.sql import SqlCatalog

    folder = tmp_path / "iceberg"
    folder.mkdir()
    made = SqlCatalog("tests", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}")
    made.create_namespace("risk")
    return made
