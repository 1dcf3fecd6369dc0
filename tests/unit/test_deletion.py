"""Deletion: what is a session's goes with it, and nothing of a newer one under its id."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest

from htcgrid_core.domain.bundle import Block, Bundle
from htcgrid_core.domain.errors import AccessDenied, GridUnavailable, SessionNotFinished, SessionNotFound
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session import SessionRecord, unreadable
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services.deletion import delete
from htcgrid_core.services.reconcile import reconcile
from htcgrid_core.services.results import events_in_order, in_index_order
from htcgrid_core.services.sweep import sweep
from tests.manual_agent import finish, parse, submit
from tests.planes import spec

ID = "s-deletion"
RETENTION, TICK = 50.0, 10.0
EVENTS = ["x" * 1000, "y" * 1000]


@pytest.fixture
def plane(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> Plane:
    """One whose events and results are blobs."""
    object.__setattr__(plane, "inline_payload_bytes", 100)
    return plane


def send(plane: Plane, total: int | None = None) -> SessionRecord:
    return submit(plane, ID, spec(retention_seconds=RETENTION), EVENTS[:total], idempotent=True)


def blobs(plane: Plane) -> list[str]:
    return plane.blobs.keys(f"sessions/{ID}/")


def events(plane: Plane) -> list[bytes]:
    record = plane.store.session(ID, plane.clock.now())
    return list(events_in_order(plane, record, parse(record)))


def done(plane: Plane) -> None:
    send(plane)
    finish(plane, str.upper)
    assert plane.store.session(ID, plane.clock.now()).state is SessionState.COMPLETED


def test_a_session_submitted_between_the_row_and_the_blobs_keeps_its_own(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the same id, with the same events: whoever deletes the older one's blobs is late."""
    done(plane)
    old = blobs(plane)
    plane.clock.sleep(RETENTION + 1)
    delete_prefix, sent = plane.blobs.delete_prefix, list[SessionRecord]()

    def late(prefix: str) -> None:
        if not sent:
            sent.append(send(plane))
        delete_prefix(prefix)

    monkeypatch.setattr(plane.blobs, "delete_prefix", late)
    assert reconcile(plane, TICK).expired == 1
    assert sent
    assert len(events(plane)) == 2
    assert old
    assert not set(old) & set(blobs(plane))
    finish(plane, str.upper)
    assert plane.store.session(ID, plane.clock.now()).counters.completed == 2


def test_a_session_whose_blobs_are_there_before_its_row_keeps_them(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small one's are; the older one is deleted in between."""
    done(plane)
    plane.clock.sleep(RETENTION + 1)
    create_whole: Any = plane.store.create_whole

    def late(draft: SessionRecord, roots: Sequence[tuple[Bundle, Block]], **options: Any) -> SessionRecord:
        assert reconcile(plane, TICK).expired == 1
        created: SessionRecord = create_whole(draft, roots, **options)
        return created

    monkeypatch.setattr(plane.store, "create_whole", late)
    send(plane)
    assert len(events(plane)) == 2


def test_a_repeated_submission_deletes_nothing(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """Submitters may not; what it stored for nothing is swept, and what the session has stays."""
    first = send(plane)
    own = blobs(plane)
    assert own
    with monkeypatch.context() as denied:
        denied.setattr(plane.blobs, "delete_prefix", _denied)
        assert send(plane).folder == first.folder
    extra = set(blobs(plane)) - set(own)
    plane.clock.sleep(10_000 * 86400.0)  # files have the time of the machine
    assert extra <= set(sweep(plane).deleted)
    assert blobs(plane) == own


def test_deleted_before_its_time(plane: Plane) -> None:
    """With its blobs; who did it, and why, stays."""
    done(plane)
    assert blobs(plane)
    delete(plane, ID, actor="alice", reason="no need")
    assert blobs(plane) == []
    with pytest.raises(SessionNotFound):
        delete(plane, ID, actor="alice")
    last = plane.audit.of_session(ID)[-1]
    assert (last.event, last.actor, last.detail, last.before) == ("delete", "alice", "no need", "COMPLETED")
    assert len(send(plane).spec) > 0
    assert len(events(plane)) == 2


def test_nothing_empty_is_left(plane: Plane) -> None:
    """A grid lives long: not even a folder stays of a session that was deleted, and its neighbour keeps its own."""
    done(plane)
    plane.blobs.put("sessions/s-neighbour/f/events/0", b"0")
    folder = plane.blobs.path(f"sessions/{ID}")
    assert folder.is_dir()
    delete(plane, ID, actor="alice")
    assert [each.name for each in folder.parent.iterdir()] == ["s-neighbour"]
    plane.blobs.delete_prefix("sessions/s-neighbour/")
    assert list(folder.parent.parent.glob("sessions")) == []
    assert blobs(plane) == []
    assert send(plane).folder
    assert blobs(plane)


def test_what_runs_is_not_deleted(plane: Plane) -> None:
    """And keeps its blobs."""
    send(plane)
    before = blobs(plane)
    with pytest.raises(SessionNotFinished, match="is RUNNING"):
        delete(plane, ID, actor="alice")
    assert blobs(plane) == before
    finish(plane, str.upper)


def test_a_reply_that_is_lost(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row is gone at the second try, and the blobs go all the same."""
    done(plane)
    delete_row, lost = plane.store.delete, [GridUnavailable("its reply was lost")]

    def call(*arguments: Any, **options: Any) -> None:
        delete_row(*arguments, **options)
        if lost:
            raise lost.pop()

    monkeypatch.setattr(plane.store, "delete", call)
    delete(plane, ID, actor="alice")
    assert not lost
    assert blobs(plane) == []


def test_what_a_crash_left_of_an_older_session_is_swept(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while there is a newer one under its id, whose own blobs stay."""
    done(plane)
    old = set(blobs(plane))
    with monkeypatch.context() as broken:
        broken.setattr(plane.blobs, "delete_prefix", partial(_fails))
        with pytest.raises(GridUnavailable):
            delete(plane, ID, actor="alice")
    send(plane)
    new = set(blobs(plane)) - old
    assert new
    plane.clock.sleep(10_000 * 86400.0)  # files have the time of the machine
    assert old <= set(sweep(plane).deleted)
    assert set(blobs(plane)) == new


def test_a_session_whose_row_cannot_be_read_keeps_its_blobs(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one in a state of a later release: nobody can say which folder is its own."""
    done(plane)
    before = blobs(plane)
    damaged = unreadable(ID, "its state is not known", plane.clock.now())
    monkeypatch.setattr(plane.store, "progress", lambda *_: [damaged])
    plane.clock.sleep(10_000 * 86400.0)  # files have the time of the machine
    assert not set(before) & set(sweep(plane).deleted)
    assert blobs(plane) == before


@pytest.mark.parametrize("read", [in_index_order, events_in_order])
@pytest.mark.parametrize("bundle_size", [1, 40])
def test_whoever_reads_it_is_told(plane: Plane, read: Callable[..., Iterator[Any]], bundle_size: int) -> None:
    """What was half read when it was deleted does not merely end, as if there were no more; nor is it cancelled."""
    object.__setattr__(plane, "inline_payload_bytes", 10_000)
    asked = spec(retention_seconds=RETENTION, bundle_size=bundle_size)
    submit(plane, ID, asked, [str(number) for number in range(80)], idempotent=True)
    finish(plane, str.upper)
    record = plane.store.session(ID, plane.clock.now())
    assert len(list(read(plane, record, asked))) == 80
    reading = read(plane, record, asked)
    if bundle_size == 1:
        next(reading)
    delete(plane, ID, actor="alice")
    with pytest.raises(SessionNotFound):
        list(reading)


def _denied(_: str) -> None:
    raise AccessDenied("s3:DeleteObject is not allowed")


def _fails(_: str) -> None:
    raise GridUnavailable("the disk is full")


@pytest.mark.parametrize("total", [2, None])
def test_a_token_of_a_session_that_has_expired_begins_another(plane: Plane, total: int | None) -> None:
    """Also where no agent has run since, which would have deleted it."""
    done(plane)
    plane.clock.sleep(RETENTION + 1)
    before = blobs(plane)
    record = send(plane, total)
    assert (record.state, record.counters.completed, record.expires_at) == (SessionState.RUNNING, 0, None)
    assert not set(before) & set(blobs(plane))
    finish(plane, str.upper)
    ended = plane.store.session(ID, plane.clock.now())
    assert [found is not None for _, found in in_index_order(plane, ended, parse(ended))] == [True, True]


def test_whoever_may_not_delete_is_told_to_come_again(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    done(plane)
    plane.clock.sleep(RETENTION + 1)

    def refuse(*_: object, **__: object) -> None:
        raise AccessDenied("no dynamodb:DeleteItem")

    with monkeypatch.context() as patch:
        patch.setattr(type(plane.store), "delete", refuse)
        with pytest.raises(GridUnavailable, match="is over its retention and not deleted yet"):
            send(plane)
    reconcile(plane, tick_seconds=TICK)
    assert send(plane).state is SessionState.RUNNING
