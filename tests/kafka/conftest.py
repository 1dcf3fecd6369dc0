"""One grid and one cluster of brokers for all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import Producer

from htcgrid_core import Grid, connect
from tests.e2e.support import fresh_grid
from tests.kafka.brokers import REAL, Brokers, brokers, note_as_brokers_do


@pytest.fixture(scope="session")
def kafka() -> Iterator[Brokers]:
    with brokers() as found:
        yield found


@pytest.fixture
def real_kafka(kafka: Brokers) -> Brokers:
    if not REAL:
        pytest.skip("librdkafka's mock does not do this: HTCGRID_TEST_KAFKA=HOST:PORT names brokers that do")
    return kafka


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Brokers that keep the offsets of a transaction."""
    if not REAL:
        from htcgrid_core.adapters.kafka import writer

        monkeypatch.setitem(vars(writer), "Producer", Producer)  # to be put back
        note_as_brokers_do()


@pytest.fixture(scope="session")
def grid_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with fresh_grid(tmp_path_factory.mktemp("grid") / "home") as url:
        yield url


@pytest.fixture(scope="session")
def grid(grid_url: str) -> Iterator[Grid]:
    with connect(grid_url) as grid:
        yield grid
