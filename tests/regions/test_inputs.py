"""What a session refers to is in its region, signed with that region's key."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core.agent.loop.blob_verifier import BlobVerifier
from htcgrid_core.client.session import Session
from htcgrid_core.codecs.shared import SharedInput
from htcgrid_core.codecs.signing import SIGNATURE_BYTES
from htcgrid_core.domain.errors import GridUnavailable, InvalidInput, SignatureInvalid
from htcgrid_core.gateway.regions.names import region_of
from htcgrid_core.ports.bundle_queue import Message
from tests.manual_agent import take
from tests.regions.given import EAST, WEST, World

BOTH = (WEST, EAST)
CURVE = {1: (0.97, 0.94)}  # which only a pickle gives back


def read(two: World, session: Session) -> list[bytes]:
    """Its shared inputs as an agent of its region finds them, verified; and its callable, if it has one."""
    place = two[str(region_of(session.id, BOTH))].behind
    verifier = BlobVerifier(place)
    found = []
    while messages := place.queue.receive("default", 100, place.clock.now()).messages:
        for message in messages:
            assert isinstance(message, Message)
            work = take(place, message.hint)
            if work is None or work.bundle.session_id != session.id:
                continue
            assert work.events is not None, work.corrupt
            paths = [*verifier.shared(work.events.shared).values(), verifier.function(work.spec)]
            found += [Path(path).read_bytes() for path in paths if path]
            for reference in work.events.shared:
                digest = reference.partition(".")[0].encode()
                assert any(digest in bytes(payload) for payload in work.events.payloads()), "in the event's own bytes"
        place.queue.delete(messages)
    return found


def in_region(two: World, name: str, submit: Any) -> Session:
    """A session in this region: others are not wanted here."""
    while True:
        session: Session = submit()
        if region_of(session.id, BOTH) == name:
            return session


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("value", [CURVE, {"plain": 1}, b"bytes"])
def test_a_value_that_was_put(two: World, name: str, value: object) -> None:
    shared = two.grid.put(value)
    session = in_region(two, name, partial(two.grid.submit, dict, [{"curve": shared}]))
    values = read(two, session)
    assert len(values) == 2, "the value and the callable"


@pytest.mark.parametrize("codec", ["json", "pickle"])
def test_of_a_region_that_was_down(two: World, codec: Any) -> None:
    """It is copied when a session there needs it."""
    two.down(EAST)
    shared = two.grid.put({"one": 1}, codec=codec)
    two.up(EAST)
    session = in_region(two, EAST, partial(two.grid.submit, dict, [{"curve": shared}]))
    assert len(read(two, session)) == 2


@pytest.mark.parametrize("name", BOTH)
def test_of_another_client(two: World, name: str) -> None:
    """Which knows the reference alone, as from a pickle."""
    shared = two.grid.put(CURVE)
    same = SharedInput(shared.digest, shared.codec)
    other = two.client()
    session = in_region(two, name, partial(other.submit, dict, [{"curve": same}]))
    assert len(read(two, session)) == 2


def test_that_only_a_region_has_which_is_down(two: World) -> None:
    two.down(EAST)
    shared = two.grid.put(CURVE)
    two.up(EAST)
    two.down(WEST)
    other = two.client()
    with pytest.raises(GridUnavailable, match="cannot be copied"):
        other.submit(dict, [{"curve": shared}])
    two.up(WEST)
    assert other.submit(dict, [{"curve": shared}]).id


def test_that_no_region_has(two: World) -> None:
    with pytest.raises(InvalidInput, match="put it again"):
        two.grid.submit(dict, [{"curve": SharedInput("0" * 64, "json")}])


def test_what_one_region_did_not_sign_is_not_copied(two: World) -> None:
    """Whoever may write to one region's bucket gets nothing loaded in another."""
    forged = b"x" * SIGNATURE_BYTES + b"cos\nsystem\n."
    digest = hashlib.sha256(forged).hexdigest()
    two[WEST].behind.blobs.put(f"shared/{digest}", forged)
    elsewhere = two.client(weights={WEST: 0.001, EAST: 1000.0})
    with pytest.raises(SignatureInvalid):
        elsewhere.submit(dict, [{"curve": SharedInput(digest, "pickle")}])
    assert not two[EAST].behind.blobs.keys("shared/")


def test_again_under_a_token(two: World) -> None:
    """Another process puts the same value, and submits the same: it is the same body."""
    first = two.grid.submit(dict, [{"curve": two.grid.put(CURVE)}], token="book")
    other = two.client(seed=5)
    assert other.submit(dict, [{"curve": other.put(CURVE)}], token="book").id == first.id


def test_calls_and_their_callables(two: World) -> None:
    offset = 5
    function = lambda number: number + offset  # noqa: E731 - by value
    for name in BOTH:
        session = in_region(two, name, partial(two.grid.submit_calls, function, [[[1], {}]], {}))
        (pickled,) = read(two, session)
        assert b"number" in pickled
