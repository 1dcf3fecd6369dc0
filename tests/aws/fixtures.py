"""Fixtures over the emulators, which tests/conftest.py gives to every test: one server each, an account a test."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator

import pytest

from tests.aws import emulators
from tests.aws.emulators import Account


@pytest.fixture(scope="session")
def ministack_url() -> Iterator[str]:
    """A ministack for all tests."""
    with emulators.ministack() as url:
        yield url


@pytest.fixture
def aws_account(ministack_url: str) -> Account:
    """A fresh account on ministack."""
    return Account(ministack_url)


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """A moto server for all tests. Not safe under concurrency, so for single-threaded tests only."""
    with emulators.moto() as url:
        yield url


@pytest.fixture
def moto_account(moto_url: str) -> Account:
    """The one account of moto, emptied: unlike ministack it does not go by the access key."""
    urllib.request.urlopen(urllib.request.Request(f"{moto_url}/moto-api/reset", method="POST"), timeout=10).close()
    return Account(moto_url)
