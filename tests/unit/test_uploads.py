"""Uploads in parts, and whose blobs are."""

from __future__ import annotations

from pathlib import Path

import pytest

from htcgrid_core.codecs import frames
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import InvalidInput, SessionConflict, SessionNotFound
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import ownership, uploads
from htcgrid_core.services.sweep import sweep
from tests.planes import ManualClock, memory_plane

ID = "s-upload"


@pytest.fixture
def plane(tmp_path: Path) -> Plane:
    return memory_plane(tmp_path)


def test_parts_come_in_any_order_and_again(plane: Plane) -> None:
    uploads.start(plane, ID, "asked")
    first, second = frames.pack([b"1", b"2"]), frames.pack([b"3"], ["d.json"])
    for _ in range(2):
        assert uploads.put_part(plane, ID, 1, second)
        assert uploads.put_part(plane, ID, 0, first)
    assert uploads.parts(plane, ID) == [0, 1]
    assert uploads.sealed(plane) == []
    upload = uploads.seal(plane, ID, 2)
    assert uploads.seal(plane, ID, 2) == upload
    assert uploads.sealed(plane) == [ID]
    assert [e for n in range(2) for e in uploads.events(plane, upload, n)] == [b"1", b"2", (b"3", ("d.json",))]
    uploads.forget(plane, ID)
    assert uploads.sealed(plane) == []
    with pytest.raises(SessionNotFound):
        uploads.read(plane, ID)


def test_a_part_stays_what_it_is(plane: Plane) -> None:
    uploads.start(plane, ID, "asked")
    assert uploads.put_part(plane, ID, 0, frames.pack([b"1"]))
    assert not uploads.put_part(plane, ID, 0, frames.pack([b"2"]))
    assert list(uploads.events(plane, uploads.seal(plane, ID, 1), 0)) == [b"1"]


def test_what_does_not_fit_is_refused(plane: Plane) -> None:
    with pytest.raises(SessionNotFound):
        uploads.put_part(plane, ID, 0, frames.pack([b"1"]))
    uploads.start(plane, ID, "asked")
    assert uploads.start(plane, ID, "something else").asked == "asked"
    uploads.put_part(plane, ID, 1, frames.pack([b"1"]))
    with pytest.raises(InvalidInput, match="lacks 1 of 2 parts: 0"):
        uploads.seal(plane, ID, 2)
    uploads.put_part(plane, ID, 0, frames.pack([b"1"]))
    with pytest.raises(InvalidInput, match="1 parts beside the first 1: 1"):
        uploads.seal(plane, ID, 1)
    uploads.seal(plane, ID, 2)
    with pytest.raises(SessionConflict):
        uploads.seal(plane, ID, 1)
    with pytest.raises(InvalidInput, match="sealed"):
        uploads.put_part(plane, ID, 2, frames.pack([b"1"]))


def test_one_that_cannot_be_submitted_says_why(plane: Plane) -> None:
    uploads.start(plane, ID, "asked")
    uploads.put_part(plane, ID, 0, frames.pack([b"1"]))
    uploads.seal(plane, ID, 1)
    uploads.fail(plane, ID, {"detail": "no such pool"})
    assert uploads.read(plane, ID).failed == {"detail": "no such pool"}
    assert uploads.sealed(plane) == []
    with pytest.raises(InvalidInput, match="ended"):
        uploads.put_part(plane, ID, 0, frames.pack([b"2"]))


def test_notes_of_whose_a_blob_is(plane: Plane) -> None:
    ownership.note(plane, "acme", "shared/d")
    assert ownership.is_owned(plane, "acme", "shared/d")
    assert not ownership.is_owned(plane, "other", "shared/d")
    assert not ownership.is_owned(plane, "acme", "functions/d")


def test_what_is_abandoned_is_swept(plane: Plane) -> None:
    uploads.start(plane, ID, "asked")
    ownership.note(plane, "acme", "shared/d")
    clock = plane.clock
    assert isinstance(clock, ManualClock)
    clock.wall = plane.blobs.path("owned/acme/shared/d").stat().st_mtime + limits.UNUSED_BLOB_SECONDS + 10
    assert sorted(sweep(plane).deleted) == ["owned/acme/shared/d", f"uploads/{ID}/open"]
