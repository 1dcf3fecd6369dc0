"""What it costs to wait for many sessions, counted at the wire."""

from __future__ import annotations

from dataclasses import replace

import pytest

from htcgrid_core import connect
from htcgrid_core.adapters.aws.dynamodb import items
from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.adapters.aws.dynamodb.keys import session_key
from htcgrid_core.adapters.aws.dynamodb.schema import PARTITION, SORT
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session import Counters
from htcgrid_core.testing.contracts import given
from tests.aws.grids import CloudUnderTest
from tests.aws.meter import Meter
from tests.planes import plane_of

SESSIONS = 2000
CALLS_A_POLL = 20


@pytest.mark.slow
def test_two_thousand_sessions_are_waited_for_with_twenty_calls_a_poll(aws_cloud: CloudUnderTest) -> None:
    """By one process, whatever they are: of one lane each, or ended. Sixteen lanes cost more while they are live."""
    session = aws_cloud.account.session()
    with connect(aws_cloud.url, aws_session=session) as grid:
        meter = Meter(aws_cloud.account, "")
        meter.count(session)
        ids = [f"s-{number:04d}" for number in range(SESSIONS)]
        table = plane_of(grid).store._table  # type: ignore[attr-defined]  # a DynamoStore
        table.put_many([_row(session_id) for session_id in ids])
        meter.calls.clear()
        for poll in range(1, 3):
            found = grid.progress(ids)
            assert [one.session_id for one in found] == ids
            assert {(one.total, one.completed, one.pending) for one in found} == {(3, 1, 2)}
            assert meter.calls.total() <= CALLS_A_POLL * poll, dict(meter.calls)


def _row(session_id: str) -> Item:
    """A session that runs, as submit and a commit leave it."""
    counters = Counters(total=3)
    record = replace(given.record(session_id), state=SessionState.RUNNING, counters=counters, bundles=1)
    row = items.new_session(record, "00000000", 1)
    partition, sort = session_key(session_id)
    return {PARTITION: partition, SORT: sort, **row, "ok": 1, "pend": 2, "hist": []}
