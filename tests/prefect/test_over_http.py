"""Flows whose grid is reached through its server: the token is a secret of the block."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Iterator

import pytest
from prefect import flow, task
from pydantic import SecretStr

from htcgrid_core import AccessDenied, InvalidInput, connect_async
from htcgrid_prefect import HTCGrid, HTCGridTaskRunner, run_session
from tests.prefect.handlers import square
from tests.served import Server, serving


@pytest.fixture(scope="module")
def server(shared_grid_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Of these tests' grid."""
    with serving(shared_grid_url, tmp_path_factory.mktemp("served") / "keys.json") as running:
        yield running


@pytest.fixture
def block(server: Server) -> HTCGrid:
    """As it is stored and loaded."""
    HTCGrid(url=server.url, api_token=SecretStr(server.token), allow_pickle=True).save("served", overwrite=True)
    loaded = HTCGrid.load("served")
    assert isinstance(loaded, HTCGrid)
    return loaded


@task
def double(number: int) -> int:
    return 2 * number


@flow
def doubling(count: int) -> list[int]:
    return list(double.map(range(count)).result())


@flow
def in_one_session(grid: HTCGrid) -> list[int]:
    return list(run_session(square, range(5), grid=grid))


@flow
async def in_a_loop(url: str, token: SecretStr) -> list[int]:
    """As an asynchronous flow has it: other things of the loop go on."""
    async with connect_async(url, api_token=token.get_secret_value(), allow_pickle=True) as grid:
        one, other = await asyncio.gather(grid.submit(square, range(3)), grid.submit(square, range(3, 5)))
        found = [result async for result in one.results()]
        return found + [result async for result in other.results()]


def test_the_token_is_shown_nowhere(server: Server, block: HTCGrid, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), block.get_client() as grid:
        assert list(grid.map(square, range(3))) == [0, 1, 4]
        with pytest.raises(TypeError):
            pickle.dumps(grid)
    assert server.token not in f"{block!r} {grid!r} {block.model_dump_json()} {caplog.text}"
    with pytest.raises(AccessDenied) as caught:
        HTCGrid(url=server.url, api_token=SecretStr("another-token")).get_client()
    assert "another-token" not in str(caught.value)


def test_tasks_of_a_flow(block: HTCGrid) -> None:
    assert doubling.with_options(task_runner=HTCGridTaskRunner(grid=block))(10) == [2 * n for n in range(10)]


def test_nested_tasks_on_the_grid_are_refused(block: HTCGrid) -> None:
    with pytest.raises(InvalidInput, match=r'nested="grid" does not work on http://.*nested="local"'):
        doubling.with_options(task_runner=HTCGridTaskRunner(grid=block, nested="grid"))(10)


def test_a_session_of_a_flow(block: HTCGrid) -> None:
    assert in_one_session(block) == [n * n for n in range(5)]


def test_an_asynchronous_flow(server: Server) -> None:
    assert asyncio.run(in_a_loop(server.url, SecretStr(server.token))) == [n * n for n in range(5)]
