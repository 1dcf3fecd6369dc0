"""A token has one session, whatever regions do."""

from __future__ import annotations

from pathlib import Path

import pytest

from htcgrid_core.client.session_ids import session_id_of
from htcgrid_core.domain.errors import GridUnavailable, InvalidInput, SessionConflict
from htcgrid_core.gateway.regions.names import region_of
from tests.regions.given import EAST, SOUTH, WEST, World, world

HANDLER = "json.dumps"
BOTH = (WEST, EAST)


def everywhere(two: World) -> list[str]:
    return [row.session_id for name in two.places for row in two[name].behind.store.sessions(0.0, limit=100)]


def test_the_same_submission_is_the_same_session(two: World) -> None:
    first = two.grid.submit(HANDLER, [1, 2], token="book")
    for seed in range(10):
        assert two.client(seed=seed).submit(HANDLER, [1, 2], token="book").id == first.id
    assert everywhere(two) == [first.id]
    assert first.id.startswith(session_id_of("book"))
    with pytest.raises(SessionConflict):
        two.client().submit(HANDLER, [1, 3], token="book")


def test_tokens_are_spread(two: World) -> None:
    found = {region_of(two.grid.submit(HANDLER, [1], token=f"book-{number}").id, BOTH) for number in range(20)}
    assert found == set(BOTH)


@pytest.mark.parametrize("silent", BOTH)
def test_a_region_that_may_hold_it_is_silent(two: World, silent: str) -> None:
    """No second session is risked, and nothing is written."""
    two.grid.submit(HANDLER, [0])
    two.down(silent)
    before = everywhere(two)
    with pytest.raises(GridUnavailable, match=f"lost={silent}"):
        two.grid.submit(HANDLER, [1], token="new")
    assert everywhere(two) == before
    two.up(silent)
    assert two.grid.submit(HANDLER, [1], token="new").id


def test_it_is_where_it_was_although_another_is_silent(two: World) -> None:
    first = two.grid.submit(HANDLER, [1], token="book")
    (other,) = {*BOTH} - {region_of(first.id, BOTH)}
    two.down(str(other))
    assert two.client().submit(HANDLER, [1], token="book").id == first.id


def test_a_region_that_is_given_up_is_not_asked(two: World) -> None:
    """Which may be a second session: that is what giving up means."""
    first = two.grid.submit(HANDLER, [1], token="book")
    gone = str(region_of(first.id, BOTH))
    two.down(gone)
    again = two.client(lost=[gone]).submit(HANDLER, [1], token="book")
    assert region_of(again.id, BOTH) not in (gone, None)
    two.up(gone)
    assert two.client(lost=[gone]).session(first.id).id == first.id, "what its id names is still asked for"
    assert two.client().submit(HANDLER, [1], token="book").id == first.id, "the elder counts once both are asked"


def test_two_who_have_given_up_the_region_that_was_chosen(tmp_path: Path) -> None:
    """They follow each other: a session that nobody has is not submitted twice by those who agree on what is lost."""
    three = world(tmp_path, (WEST, EAST, SOUTH))
    for number in range(20):
        session_id = session_id_of(f"given up-{number}")
        for lost in ([], [WEST]):
            clients = [three.client(lost=lost, seed=seed).gateway for seed in range(2)]
            wanted = (WEST, EAST) if not lost else (SOUTH, EAST)
            found = [
                client._placement.claimed(session_id, client.regions[name]).name  # type: ignore[attr-defined]
                for client, name in zip(clients, wanted, strict=True)
            ]
            assert found == [wanted[0]] * 2


def test_of_a_version_that_was_taken_out_of_use(two: World, tmp_path: Path) -> None:
    """Its session keeps it: to submit again is to find it, and none is made."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "pricing.py").write_text("def handler(event, context): return event\n")
    two.grid.deploy("price", code, handler="pricing.handler")
    first = two.grid.submit("price", [1], token="book")
    two.grid.gateway.remove_function("price")
    assert two.client().submit("price", [1], token="book").id == first.id
    assert everywhere(two) == [first.id]


def test_two_clients_at_the_same_moment(two: World) -> None:
    """Both find that there is none, and choose for themselves: what the first one wrote down counts."""
    for number in range(20):
        session_id = session_id_of(f"race-{number}")
        regions = [two.client(seed=seed).gateway.regions for seed in range(2)]  # type: ignore[attr-defined]
        placements = [two.client(seed=seed).gateway._placement for seed in range(2)]  # type: ignore[attr-defined]
        assert [placement.holder(session_id) for placement in placements] == [None, None]
        wanted = [each[name] for each, name in zip(regions, BOTH, strict=True)]
        found = [placement.claimed(session_id, one).name for placement, one in zip(placements, wanted, strict=True)]
        assert found[0] == found[1]


def test_one_that_died_after_it_chose_is_followed(two: World) -> None:
    """Whoever comes next goes on where the first one would have, whatever he would choose himself."""
    session_id = session_id_of("died")
    gateway = two.gateway
    chosen = gateway._placement.claimed(session_id, gateway.regions[EAST])
    assert chosen.name == EAST
    for seed in range(5):
        assert (
            region_of(two.client(weights={WEST: 9.0, EAST: 0.1}, seed=seed).submit(HANDLER, [1], token="died").id, BOTH)
            == EAST
        )


def test_one_was_chosen_that_the_url_does_not_name(tmp_path: Path) -> None:
    three = world(tmp_path, (WEST, EAST, SOUTH))
    for number in range(12):  # whose arbiter is one of the two for some
        gateway = three.gateway
        gateway._placement.claimed(session_id_of(f"one-{number}"), gateway.regions[SOUTH])
    two = three.client(weights={WEST: 1.0, EAST: 1.0})
    refused = []
    for number in range(12):
        try:
            two.submit(HANDLER, [1], token=f"one-{number}")
        except InvalidInput as error:
            refused.append(str(error))
    assert refused
    assert all(SOUTH in why for why in refused)


def test_a_session_of_one_region_alone_is_found(two: World) -> None:
    """Submitted under the token by a client that knew that region only: its id names none."""
    spec = two.client(weights={WEST: 1.0}).submit(HANDLER, [1]).record.parsed_spec()
    there = two[EAST].open().submit(session_id_of("book"), spec, iter([b"1"]), total=1, idempotent=True)
    assert there.session_id == session_id_of("book")
    assert two.grid.submit(HANDLER, [1], token="book").id == there.session_id


def test_it_is_asked_for_by_the_id_of_its_token(two: World) -> None:
    """As steps of workflows do, which know their tokens: whatever region it is in."""
    first = two.grid.submit(HANDLER, [1], token="book")
    ids = [session_id_of("nothing"), session_id_of("book")]
    (found,) = two.client().progress(ids)
    assert (found.session_id, found.total) == (session_id_of("book"), 1), "under the id that was asked for"
    session = two.client().session(session_id_of("book"))
    assert session.id == first.id, "which then names its region"
    two.down(WEST)
    fresh = two.client()
    fresh.gateway.describe()
    with pytest.raises(GridUnavailable):
        fresh.progress([session_id_of("nothing")])
