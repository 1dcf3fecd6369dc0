"""A large fleet is spread over several partitions, and is one fleet all the same."""

from __future__ import annotations

import pytest

from htcgrid_core.adapters.aws.dynamodb import agents
from htcgrid_core.domain import limits
from htcgrid_core.ports.session_store import AgentRecord
from htcgrid_core.testing.contracts.given import NOW
from tests.aws.emulators import Account
from tests.aws.stores import TABLE, make_table, store_of

AGENTS = 40


def said(number: int, at: float) -> AgentRecord:
    return AgentRecord(f"agent-{number:02d}", "default", "host", 1, 32, 0, at)


def test_a_fleet_that_grows_and_leaves(aws_account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "LARGE_FLEET", 20)
    monkeypatch.setattr(agents, "FEW_IN_FIRST", 1)
    make_table(aws_account)
    client = aws_account.dynamodb()
    stores = [store_of(aws_account, client=client) for _ in range(AGENTS)]
    names = [said(number, NOW).agent_id for number in range(AGENTS)]
    for beat in range(3):
        at = NOW + beat * limits.HEARTBEAT_SECONDS
        for number, store in enumerate(stores):
            store.beat(said(number, at))
        for store in stores:
            assert [agent.agent_id for agent in store.agents(at)] == names
    written = [item["pk"]["S"] for item in client.scan(TableName=TABLE)["Items"]]
    assert len(written) == AGENTS
    assert len(set(written)) == agents.PARTS
    for number, store in enumerate(stores):
        store.forget_agent(names[number])
    assert stores[0].agents(NOW) == []
