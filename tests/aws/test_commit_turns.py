"""Threads of one process that commit bundles of one lane take turns: on AWS their transactions would meet."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from htcgrid_core.domain.bundle import root_id
from htcgrid_core.ports.session_store import Claimed, Commit
from htcgrid_core.testing.contracts import given
from tests.aws.emulators import Account
from tests.aws.stores import make_table, store_of

SESSION, ROOTS = "s-0001", 8


def test_commits_of_one_lane_take_turns(aws_account: Account) -> None:
    make_table(aws_account)
    client = aws_account.dynamodb()
    store = store_of(aws_account, client=client)
    store.create_whole(given.record(SESSION), given.roots([1] * ROOTS, SESSION), digest="", tolerated=None)
    lock, under_way, most = threading.Lock(), [0], [0]

    def step(by: int) -> None:
        with lock:
            under_way[0] += by
            most[0] = max(most[0], under_way[0])

    def begin(**_: Any) -> None:
        step(1)

    def end(**_: Any) -> None:
        step(-1)

    client.meta.events.register("before-call.dynamodb.TransactWriteItems", begin)
    client.meta.events.register("after-call.dynamodb.TransactWriteItems", end)

    def work(root: int) -> None:
        until = given.NOW + 30.0
        token = f"{root:032x}"
        claimed = store.claim(SESSION, root_id(root), token=token, owner="agent", now=given.NOW, until=until)
        assert isinstance(claimed, Claimed)
        store.commit(Commit(SESSION, root_id(root), token, given.NOW, None, 0, 0))

    with ThreadPoolExecutor(ROOTS) as pool:
        list(pool.map(work, range(ROOTS)))
    assert most == [1]
