"""What is raised in the middle of a call of the DynamoDB store leaves nothing that others wait for."""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from htcgrid_core.adapters import locked
from htcgrid_core.adapters.aws import dynamodb
from htcgrid_core.adapters.aws.dynamodb.store import DynamoStore
from htcgrid_core.domain.bundle import root_id
from htcgrid_core.ports.session_store import Claimed, Refusal
from htcgrid_core.testing.contracts import given
from htcgrid_core.testing.contracts.facts import assert_counters_exact
from htcgrid_core.testing.contracts.given import NOW, SESSION
from tests.aws.emulators import Account
from tests.aws.stores import make_table, store_of
from tests.interrupts import Interrupt, interrupted_at

MODULES = [
    locked,
    *(
        importlib.import_module(f"{dynamodb.__name__}.{found.name}")
        for found in pkgutil.iter_modules(dynamodb.__path__)
    ),
]


def run(store: DynamoStore, bundle_id: str, index: int) -> None:
    """Claim and commit a bundle, unless that is done."""
    held = given.claim(store, bundle_id)
    if isinstance(held, Claimed):
        store.commit(given.commit(held, [index]))
    else:
        assert held.reason is Refusal.OVER


@pytest.mark.parametrize("step", [pytest.param(7, marks=pytest.mark.slow), 53])
def test_at_whatever_line_an_exception_comes(aws_account: Account, step: int) -> None:
    """The call can be made again, and other threads' calls are answered."""
    make_table(aws_account)
    store = store_of(aws_account)
    given.running(store, [1] * 600, tolerated=600)
    line = number = 0
    with ThreadPoolExecutor(1) as others:
        while True:
            line += step
            mine, theirs = root_id(number), root_id(number + 1)
            number += 2
            with interrupted_at(line, *MODULES) as seen, contextlib.suppress(Interrupt):
                run(store, mine, number - 2)
            others.submit(run, store, theirs, number - 1).result(60)
            run(store, mine, number - 2)
            if seen[0] < line:
                break
    assert store.session(SESSION, NOW).counters.completed == number
    assert_counters_exact(store)
