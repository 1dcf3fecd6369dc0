"""Threads of one process that commit bundles of one lane share transactions: on AWS, two of them would meet."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from htcgrid_core.adapters.aws.dynamodb import held_leases
from htcgrid_core.adapters.aws.dynamodb.store import DynamoStore
from htcgrid_core.domain.bundle import root_id
from htcgrid_core.domain.errors import GridUnavailable, LeaseLost
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.session_store import Claimed
from htcgrid_core.testing.contracts import given
from htcgrid_core.testing.contracts.facts import assert_counters_exact, eventually
from htcgrid_core.testing.contracts.given import NOW, SESSION
from tests.aws.emulators import Account
from tests.aws.stores import make_table, store_of

ROOTS = 8


class Gate:
    """Holds the first transaction of a client until it is opened."""

    def __init__(self, client: Any) -> None:
        self._open = threading.Event()
        self._lock = threading.Lock()
        self._under_way = 0
        self.held = threading.Event()
        self.most = 0
        self.calls: Counter[str] = Counter()
        client.meta.events.register("before-call.dynamodb.*", self._begin)
        client.meta.events.register("after-call.dynamodb.*", self._end)

    def _begin(self, model: Any, **_: Any) -> None:
        with self._lock:
            self.calls[model.name] += 1
            if model.name != "TransactWriteItems":
                return
            self._under_way += 1
            self.most = max(self.most, self._under_way)
        self.held.set()
        assert self._open.wait(30)

    def _end(self, model: Any, **_: Any) -> None:
        with self._lock:
            self._under_way -= model.name == "TransactWriteItems"

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def client(aws_account: Account) -> Any:
    make_table(aws_account)
    return aws_account.dynamodb()


@pytest.fixture(params=[1, 2], ids=["one lane", "two lanes"])
def store(aws_account: Account, client: Any, request: pytest.FixtureRequest) -> DynamoStore:
    return store_of(aws_account, client=client, lanes=request.param)


def claimed(store: DynamoStore, root: int) -> Claimed:
    return given.claimed(store, root_id(root), f"token-{root}")


def at_once(store: DynamoStore, gate: Gate, commits: list[Callable[[], SessionRecord]]) -> list[Any]:
    """Make commits while a first one is held; what each of them came to."""

    def tried(commit: Callable[[], SessionRecord]) -> Any:
        try:
            return commit()
        except (LeaseLost, GridUnavailable) as error:
            return type(error)

    with ThreadPoolExecutor(len(commits)) as pool:
        first = pool.submit(tried, commits[0])
        assert gate.held.wait(30)
        others = [pool.submit(tried, commit) for commit in commits[1:]]
        waiting = store._committing._commits._waiting
        assert eventually(lambda: sum(map(len, waiting.values())), lambda count: count == len(commits)) == len(commits)
        gate.open()
        return [future.result() for future in (first, *others)]


def test_those_that_wait_go_together(store: DynamoStore, client: Any) -> None:
    given.running(store, [1] * ROOTS)
    held = [claimed(store, root) for root in range(ROOTS)]
    gate = Gate(client)
    commits = [given.commit(one, list(one.bundle.indexes)) for one in held]
    answers = at_once(store, gate, [lambda commit=commit: store.commit(commit) for commit in commits])  # type: ignore[misc]
    assert (gate.most, gate.calls["TransactWriteItems"]) == (1, 2)
    assert {answer.counters.completed for answer in answers[1:]} == {ROOTS}
    assert store.open_bundles(SESSION, "", ROOTS) == []
    assert len(store.outcome_pages(SESSION, 0, 2 * ROOTS)) == ROOTS
    assert_counters_exact(store)


def test_one_that_lost_its_lease_costs_the_others_nothing(store: DynamoStore, client: Any) -> None:
    """Nor does one that was written before, nor a bundle that is in it twice."""
    given.running(store, [1] * ROOTS)
    held = [claimed(store, root) for root in range(5)]
    commits = [given.commit(one, list(one.bundle.indexes)) for one in held]
    store.commit(commits[2])
    winner = store.claim(SESSION, root_id(3), token="winner", owner="other", now=NOW + 99, until=NOW + 129)
    assert isinstance(winner, Claimed)
    gate = Gate(client)
    order = [0, 1, 2, 3, 4, 4]
    answers = at_once(store, gate, [lambda root=root: store.commit(commits[root]) for root in order])  # type: ignore[misc]
    assert [answer is LeaseLost for answer in answers] == [root == 3 for root in order]
    assert gate.most == 1
    store.commit(given.commit(winner, [3]))
    assert store.session(SESSION, NOW).counters.completed == 5
    assert_counters_exact(store)


def test_a_reply_that_was_lost_is_nobodys_loss(store: DynamoStore, client: Any) -> None:
    given.running(store, [1] * ROOTS)
    held = [claimed(store, root) for root in range(4)]
    commits = [given.commit(one, list(one.bundle.indexes)) for one in held]
    gate, lost = Gate(client), [0]

    def lose(model: Any, **_: Any) -> None:
        lost[0] += 1
        if lost[0] == 2:  # the one of those that waited
            raise GridUnavailable("its reply was lost")

    client.meta.events.register("after-call.dynamodb.TransactWriteItems", lose)
    answers = at_once(store, gate, [lambda commit=commit: store.commit(commit) for commit in commits])  # type: ignore[misc]
    assert answers[1:] == [GridUnavailable] * 3
    assert [store.commit(commit).counters.completed for commit in commits] == [4] * 4
    assert_counters_exact(store)


def test_counters_are_read_when_the_session_may_be_over(
    store: DynamoStore, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While this process holds other leases, it is not; whoever commits last sees what others did.

    With several lanes, it reads for that; with one, its write says so.
    """
    monkeypatch.setattr(held_leases, "FRESH_SECONDS_A_LANE", math.inf)  # what was read grows old on a slow machine
    given.running(store, [1] * 3)
    held = [claimed(store, root) for root in range(3)]
    gate = Gate(client)
    gate.open()
    for one in held[:2]:
        store.commit(given.commit(one, list(one.bundle.indexes)))
    assert gate.calls["BatchGetItem"] == 0
    last = store.commit(given.commit(held[2], [2]))
    assert last.counters.pending == 0
    assert (last.ended, gate.calls["BatchGetItem"]) in ((True, 0), (False, 1))
