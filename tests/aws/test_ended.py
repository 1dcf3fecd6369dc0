"""Sessions that have ended, on a table of an earlier release and on today's: what it takes, and what it costs."""

from __future__ import annotations

from typing import Any

import pytest

from htcgrid_core.adapters.aws.dynamodb import schema
from htcgrid_core.adapters.aws.resources.patience import Patience
from htcgrid_core.adapters.aws.resources.tables import Table
from htcgrid_core.domain.errors import IncompatibleGrid
from htcgrid_core.domain.lifecycle import SessionEvent
from htcgrid_core.testing.contracts import given
from htcgrid_core.testing.contracts.facts import eventually
from htcgrid_core.testing.contracts.given import NOW
from tests.aws.emulators import Account
from tests.aws.grids import clients_of
from tests.aws.meter import Meter
from tests.aws.stores import TABLE, make_table, store_of


def earlier_table() -> Any:
    """The table as the release before made it."""
    made: Any = schema.create_table(TABLE)
    made["GlobalSecondaryIndexes"] = [
        index for index in made["GlobalSecondaryIndexes"] if index["IndexName"] != schema.ENDS_INDEX
    ]
    made["AttributeDefinitions"] = [
        each for each in made["AttributeDefinitions"] if each["AttributeName"] != schema.ENDED_AT
    ]
    return made


def test_bootstrap_adds_the_index(aws_account: Account) -> None:
    """With what had ended before; until then whoever asks is told so."""
    aws_account.dynamodb().create_table(**earlier_table())
    store = store_of(aws_account)
    given.running(store, session_id="s-old")
    store.advance("s-old", SessionEvent.FAIL, now=NOW, actor="tester", reason="because")
    with pytest.raises(IncompatibleGrid, match="htcgrid aws bootstrap NAME"):
        store.ended(NOW, NOW, 100)
    said: list[str] = []
    for _ in range(2):
        Table(clients_of(aws_account), TABLE, Patience(said.append, sleep=lambda _: None)).make("book")
    ends = eventually(lambda: store.ended(NOW - 1, NOW, 100).ends, bool)
    assert [end.session_id for end in ends] == ["s-old"]


def test_a_look_costs_the_same_however_many_live(aws_account: Account) -> None:
    make_table(aws_account)
    meter = Meter(aws_account, TABLE)
    store = store_of(aws_account, client=meter.watch(aws_account.dynamodb()))
    for number in range(30):
        given.running(store, session_id=f"s-{number:04d}")
    after = store.ended(NOW, NOW, 100).cursor
    meter.reset()
    store.ended(after, NOW + 10, 100)
    assert dict(meter.calls) == {"Query": 1}
    assert meter.read_units <= 1
