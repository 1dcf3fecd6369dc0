"""Audit and costs of several regions, together."""

from __future__ import annotations

import pytest

from htcgrid_core.domain.audit import AuditEntry
from htcgrid_core.domain.errors import GridUnavailable, InvalidInput, NotOffered
from htcgrid_core.gateway.regions.names import region_of
from tests.regions.given import EAST, WEST, World

HANDLER = "json.dumps"
EVER = float("inf")


def test_every_entry_once_and_in_order(two: World) -> None:
    """Whatever a page holds, also where many are of one moment."""
    for number in range(8):
        two.grid.submit(HANDLER, [number])
        if number % 3 == 0:
            for name in (WEST, EAST):
                two[name].behind.clock.sleep(1.0)
    whole = list(two.gateway.audit_page(0.0, EVER, 1000).entries)
    assert {region_of(entry.session_id, (WEST, EAST)) for entry in whole if entry.session_id} == {WEST, EAST}
    assert [entry.at for entry in whole] == sorted((entry.at for entry in whole), reverse=True)
    for size in (1, 2, 3, 7):
        paged: list[AuditEntry] = []
        cursor: str | None = None
        while True:
            page = two.gateway.audit_page(0.0, EVER, size, cursor)
            paged += page.entries
            cursor = page.cursor
            if cursor is None:
                break
        assert paged == whole
    two.down(WEST)
    with pytest.raises(GridUnavailable, match="not whole"):
        two.gateway.audit_page(0.0, EVER)
    with pytest.raises(InvalidInput):
        two.gateway.audit_page(0.0, EVER, 10, "nonsense")


def test_of_a_session(two: World) -> None:
    session = two.grid.submit(HANDLER, [1], token="book")
    assert {entry.session_id for entry in two.gateway.audit(session.id)} == {session.id}
    assert two.gateway.cost(session.id).session_id == session.id
    with pytest.raises(NotOffered, match="region="):
        two.gateway.audit_export(0.0, EVER)


def test_costs_are_added(two: World) -> None:
    for _ in range(10):
        two.grid.submit(HANDLER, [1, 2])
    two.work()
    report = two.grid.costs(since="2027-01-01", until="2027-01-31")
    (row,) = report.rows
    assert (row.sessions, row.tasks) == (10, 20)
    assert two.grid.estimate(HANDLER, 100).sessions > 0
