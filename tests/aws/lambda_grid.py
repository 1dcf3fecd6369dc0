"""Fixtures: a grid on an emulator for all tests of a module, which the Lambda functions serve in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from htcgrid_core import Grid
from htcgrid_core.cloud.plane import CloudPlane
from htcgrid_core.domain.place import Place, Use
from htcgrid_core.lambdas import scaling_metrics, ttl_checker
from htcgrid_core.lambdas.served import served
from tests.aws.emulators import Account
from tests.aws.grids import cloud


@pytest.fixture(scope="module")
def account(ministack_url: str) -> Account:
    return Account(ministack_url)


@pytest.fixture(scope="module")
def here(account: Account, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudPlane]:
    """A grid for all tests, which the functions serve for tenant ``rates``."""
    with (
        pytest.MonkeyPatch.context() as patch,
        cloud(account, tmp_path_factory.mktemp("grid"), patch, "default", "big") as grid,
    ):
        patch.setenv("HTCGRID_URL", grid.url)
        patch.setenv("HTCGRID_TENANT", "rates")
        forget()
        yield served().cloud
        forget()


def forget() -> None:
    """As in a new sandbox."""
    for opened in (served, ttl_checker._opened, scaling_metrics._opened):
        opened.cache_clear()


@pytest.fixture
def grid(here: CloudPlane) -> Grid:
    """The same grid, as clients have it."""
    return served().grid


@pytest.fixture
def untouched(here: CloudPlane) -> Iterator[None]:
    """Nothing is submitted."""
    before = live(here)
    yield
    assert live(here) == before


def live(here: CloudPlane) -> set[str]:
    return {record.session_id for record in here.plane.store.live_sessions()}


@pytest.fixture(scope="module")
def bucket(account: Account, here: CloudPlane) -> str:
    """One with a place for events and one for results."""
    name = f"books-{account.id}"  # buckets of all accounts share their names
    account.s3().create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    places: list[tuple[str, Use]] = [("in/", "events"), ("out/", "results")]
    for prefix, use in places:
        here.registry.put_place(Place(prefix=f"s3://{name}/{prefix}", use=use, tenant="rates"))
    return name
