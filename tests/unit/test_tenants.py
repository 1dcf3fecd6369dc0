"""Tenants: whose share a session has, and what its id says of it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from htcgrid_core import InvalidInput, SessionConflict
from htcgrid_core.adapters.aws.sqs import messages
from htcgrid_core.client.grid import Grid
from htcgrid_core.client.session_ids import session_id_of
from htcgrid_core.domain import limits
from htcgrid_core.domain.function import FunctionSpec
from htcgrid_core.domain.session import DEFAULT_TENANT, SESSION_ID, SessionSpec, tenant_of, within_tenant
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.fair_share import stride
from tests.planes import plane_of, still_grid

TENANTS = st.from_regex(r"[a-z0-9][a-z0-9-]{0,31}", fullmatch=True)


@pytest.fixture
def grid(plane: Plane) -> Grid:
    return still_grid(plane)


def spec(tenant: str) -> SessionSpec:
    """Of a session of a tenant."""
    return SessionSpec(function=FunctionSpec(name="module.handler"), tenant=tenant)


@given(TENANTS, st.none() | st.text(min_size=1))
def test_an_id_says_whose_it_is(tenant: str, token: str | None) -> None:
    made = session_id_of(token, tenant)
    assert SESSION_ID.fullmatch(made)
    assert tenant_of(made) == tenant
    assert len(made) <= 100, "what fits into a message group and a key of the table"


@given(TENANTS, TENANTS)
def test_no_tenants_prefix_is_the_beginning_of_anothers(one: str, other: str) -> None:
    """Policies grant prefixes: of rows, of partitions, of blobs."""
    if DEFAULT_TENANT not in (one, other):
        assert session_id_of(None, one).startswith(f"{other}.") == (one == other)


@pytest.mark.parametrize("tenant", ["", "A", "a.b", "a/b", "-a", "a b", "a\n", "é", "x" * 33, "*"])
def test_what_is_no_tenant(grid: Grid, tenant: str) -> None:
    with pytest.raises(InvalidInput, match="tenant"):
        grid.submit("math.sqrt", [1], tenant=tenant)
    assert grid.sessions() == []


def test_a_token_is_its_tenants_own(grid: Grid) -> None:
    one, other, nobodys = (
        grid.submit("math.sqrt", events, token="book", tenant=tenant)
        for events, tenant in (([1], "one"), ([2, 3], "other"), ([], DEFAULT_TENANT))
    )
    assert len({one.id, other.id, nobodys.id}) == 3
    assert grid.submit("math.sqrt", [1], token="book", tenant="one").id == one.id
    with pytest.raises(SessionConflict):
        grid.submit("math.sqrt", [2, 3], token="book", tenant="one")


def test_sessions_of_a_tenant(grid: Grid) -> None:
    mine = [grid.submit("math.sqrt", [n], tenant="mine").id for n in range(3)]
    grid.submit("math.sqrt", [1], tenant="mine-too")
    nobodys = grid.submit("math.sqrt", [1])
    assert {session.id for session in grid.sessions(tenant="mine")} == set(mine)
    assert [session.id for session in grid.sessions(tenant=DEFAULT_TENANT)] == [nobodys.id]
    assert len(grid.sessions()) == 5


def test_a_resubmitted_session_is_the_same_tenants(grid: Grid) -> None:
    session = grid.submit("math.sqrt", [], tenant="mine")
    assert tenant_of(grid.resubmit(session).id) == "mine"


def test_live_sessions_of_a_tenant_get_one_share(grid: Grid) -> None:
    own = limits.RANK_STRIDE["normal"]
    for sharers in range(1, 4):
        grid.submit("math.sqrt", [1], tenant="mine")
        assert stride(plane_of(grid), spec("mine")) == own * sharers
    grid.submit("math.sqrt", [1], tenant="mine-too")
    grid.submit("math.sqrt", [], tenant="mine")  # it has ended
    grid.submit("math.sqrt", [1])
    assert stride(plane_of(grid), spec("mine")) == 3 * own
    assert stride(plane_of(grid), spec(DEFAULT_TENANT)) == own, "who names none shares with nobody"


def test_the_message_group_is_the_tenant() -> None:
    groups = [messages.group(Hint(within_tenant(whose, "s-1234"), "00000000")) for whose in ("mine", DEFAULT_TENANT)]
    assert groups == ["mine", "s-1234"]
    assert all(re.fullmatch(r"[a-z0-9-]{1,128}", group) for group in groups)
