"""Submitting: checked before it is written, streamed, and idempotent under a token (S5)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from htcgrid_core.codecs import frames
from htcgrid_core.codecs.values import DECODERS
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import (
    CorruptPayload,
    GridUnavailable,
    InvalidEvent,
    InvalidInput,
    SessionConflict,
    SessionNotFound,
)
from htcgrid_core.domain.lifecycle import SessionEvent, SessionState
from htcgrid_core.domain.session import SessionRecord, SessionSpec
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import payloads
from htcgrid_core.testing.contracts.facts import assert_counters_exact, assert_history_chains, together
from tests.faults import Crash, calls_of, failing_at
from tests.manual_agent import finish, parse, submit, work_on
from tests.planes import ManualClock, memory_plane, spec

ID = "t-0123456789"
MANY = 70  # bundles: more than are written in one step, and more than one batch of them


def send(plane: Plane, events: Any, *, token: bool = True, session_id: str = ID, **options: Any) -> SessionRecord:
    return submit(plane, session_id, spec(**options), events, idempotent=token)


def stored(plane: Plane, session_id: str = ID) -> list[Any]:
    """The events of a session as its workers would get them."""
    record = plane.store.session(session_id, plane.clock.now())
    found: list[Any] = []
    for block in plane.store.blocks(session_id, 0, 100_000):
        data = payloads.load(plane, session_id, parse(record), payloads.EVENTS, block.payload)
        events = frames.unpack(data).payloads()
        assert (block.first_index, block.count) == (len(found), len(events))
        found += map(DECODERS[parse(record).codec], events)
    assert record.counters.total == len(found)
    return found


def nothing_was_written(plane: Plane) -> bool:
    return not plane.store.sessions(plane.clock.now()) and not plane.blobs.exists(f"sessions/{ID}")


class TestWritten:
    @settings(max_examples=60)
    @given(
        events=st.lists(st.integers() | st.text(max_size=5), max_size=300),
        bundle_size=st.none() | st.integers(1, 20),
        agents=st.integers(1, 40),
        streamed=st.booleans(),
        codec=st.sampled_from(["json", "pickle"]),
    )
    def test_every_event_once_and_in_order(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        events: list[Any],
        bundle_size: int | None,
        agents: int,
        streamed: bool,
        codec: str,
    ) -> None:
        """Whatever the bundles, whether the length is known, in one step or many."""
        plane = memory_plane(tmp_path_factory.mktemp("plane"))
        given_events = iter(events) if streamed else events
        record = send(plane, given_events, bundle_size=bundle_size, agents=agents, codec=codec)
        assert stored(plane) == events
        assert record == plane.store.session(ID, plane.clock.now())
        assert record.state is (SessionState.RUNNING if events else SessionState.COMPLETED)
        assert record.acknowledged
        assert record.bundles == len(plane.store.blocks(ID, 0, 1000))
        sizes = [block.count for block in plane.store.blocks(ID, 0, 1000)]
        assert max(sizes, default=0) <= (bundle_size or limits.MAX_BUNDLE_TASKS)
        assert_counters_exact(plane.store, ID)
        assert_history_chains(plane.store, ID)

    @pytest.mark.parametrize("count", [3, MANY])
    def test_in_one_step_or_in_many_is_the_same(self, plane: Plane, count: int) -> None:
        options: dict[str, Any] = {
            "bundle_size": 1,
            "max_failures": 0.5,
            "priority": "high",
            "timeout_seconds": 60,
            "pool": "large",
        }
        record = send(plane, range(count), **options)
        assert (record.bundles, record.tolerated) == (count, count // 2)
        assert record.deadline_at == record.submitted_at + 60
        assert record.pool == "large"
        found = plane.store.open_bundles(ID, "", 1000)
        stride = limits.RANK_STRIDE["high"]
        assert [f.bundle.rank for f in found] == [pytest.approx((number + 0.5) * stride) for number in range(count)]
        assert work_on(plane, lambda event: event, pool="large") == count
        assert [entry.after for entry in plane.store.history(ID)] == ["SUBMITTED", "RUNNING", "COMPLETED"]

    def test_a_generator_makes_bundles_that_grow(self, plane: Plane) -> None:
        """Its length is not known, so the first bundles are small, for everybody to begin."""
        send(plane, (number for number in range(3000)), agents=4)
        sizes = [block.count for block in plane.store.blocks(ID, 0, 1000)]
        assert sizes[0] == 1
        assert sizes[:-1] == sorted(sizes[:-1])
        assert max(sizes) == limits.MAX_BUNDLE_TASKS
        assert sum(sizes) == 3000

    def test_a_generator_is_streamed(self, plane: Plane) -> None:
        """Never more than some megabytes are held: tasks are in the store while later events do not exist yet."""
        size, count = 50_000, 600
        ahead: list[int] = []

        def events() -> Iterator[str]:
            for number in range(count):
                try:
                    written = plane.store.session(ID, plane.clock.now()).counters.total
                except SessionNotFound:
                    written = 0
                ahead.append(number - written)
                yield "x" * size

        send(plane, events())
        assert max(ahead) * size < 12 << 20
        assert stored(plane) == ["x" * size] * count

    def test_work_begins_while_it_is_written(self, plane: Plane) -> None:
        """And what was done before the acknowledgement counts."""

        def events() -> Iterator[str]:
            for number in range(200):
                work_on(plane, str.upper)
                yield f"{number}" + "x" * 200_000

        record = send(plane, events())
        assert 0 < record.counters.completed < 200
        finish(plane, str.upper)
        assert plane.store.session(ID, plane.clock.now()).state is SessionState.COMPLETED
        assert_counters_exact(plane.store, ID)

    def test_large_events_are_blobs(self, plane: Plane) -> None:
        events = ["a" * (limits.INLINE_PAYLOAD_BYTES + 1), "small", "b" * (limits.INLINE_PAYLOAD_BYTES + 1)]
        send(plane, events)
        assert stored(plane) == events
        keys = [block.payload.key for block in plane.store.blocks(ID, 0, 10) if block.payload.key]
        assert len(keys) == 2
        assert {key.split("/")[3] for key in keys} == {"events"}

    @pytest.mark.parametrize(
        ("count", "event_bytes", "is_blob"), [(3, 100_000, True), (256, 3000, False), (2, 100_000, False)]
    )
    def test_some_large_events_are_a_blob_though_a_row_had_room(
        self, plane: Plane, count: int, event_bytes: int, is_blob: bool
    ) -> None:
        events = [chr(ord("a") + n % 26) * event_bytes for n in range(count)]
        send(plane, events, bundle_size=count)
        assert stored(plane) == events
        assert [bool(block.payload.key) for block in plane.store.blocks(ID, 0, 10)] == [is_blob]

    def test_progress_is_told_and_ends_at_the_total(self, plane: Plane) -> None:
        for number, count in enumerate((3, 1000)):
            told: list[int] = []
            submit(plane, f"s-{number:04d}", spec(bundle_size=5), range(count), idempotent=False, progress=told.append)
            assert told == sorted(told)
            assert told[-1] == count

    def test_it_survives_a_power_failure_once_acknowledged(self, plane: Plane) -> None:
        """The last thing before the answer is that all of it is on the disk."""
        for number, count in enumerate((3, MANY)):
            names = calls_of(plane, partial(send, events=range(count), session_id=f"s-{number:04d}", bundle_size=1))
            writes = [at for at, name in enumerate(names) if name in ("create_whole", "acknowledge", "advance")]
            assert names.index("sync") > max(writes)

    def test_pickled_events_are_sealed(self, plane: Plane) -> None:
        send(plane, [{1, 2}], codec="pickle")
        assert stored(plane) == [{1, 2}]
        (block,) = plane.store.blocks(ID, 0, 10)
        assert block.payload.data is not None
        with pytest.raises(CorruptPayload):
            frames.unpack(block.payload.data)  # a signature comes first


class TestRefused:
    """Nothing is written, or what was is aborted."""

    @pytest.mark.parametrize("token", [True, False])
    @pytest.mark.parametrize("at", [0, 1, 99])
    @pytest.mark.parametrize("codec", ["json", "pickle"])
    def test_a_bad_event_of_a_small_vector(self, plane: Plane, token: bool, at: int, codec: str) -> None:
        import threading

        events: list[Any] = list(range(100))
        events[at] = threading.Lock()
        with pytest.raises(InvalidEvent, match=rf"event {at} ") as caught:
            send(plane, events, token=token, codec=codec, bundle_size=1)
        assert caught.value.index == at
        assert nothing_was_written(plane)

    @pytest.mark.parametrize("price", [1.5, None])
    def test_a_uuid_in_json_whatever_stands_beside_it(self, plane: Plane, price: float | None) -> None:
        with pytest.raises(InvalidEvent, match=r"event 1 .* not JSON \(uuid\.UUID is not JSON\)") as caught:
            send(plane, [{"id": "a"}, {"id": UUID(int=1), "price": price}], codec="json")
        assert caught.value.index == 1
        assert nothing_was_written(plane)

    @pytest.mark.parametrize("token", [True, False])
    def test_a_bad_event_late_in_a_large_vector(self, plane: Plane, token: bool) -> None:
        """The begun session is aborted, its id free for another try."""
        events: list[Any] = ["x" * 100_000] * 90
        with pytest.raises(InvalidEvent) as caught:
            send(plane, [*events, object()], token=token)
        assert caught.value.index == 90
        record = plane.store.session(ID, plane.clock.now())
        assert (record.state, record.acknowledged) == (SessionState.CANCELLED, False)
        assert "event 90" in record.reason
        assert plane.store.live_sessions() == []
        send(plane, [*events, "good"], token=token)
        assert stored(plane) == [*events, "good"]

    @pytest.mark.parametrize("at", [0, 80])
    def test_an_event_too_large(self, plane: Plane, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        monkeypatch.setattr(limits, "MAX_EVENT_BYTES", 200_000)
        with pytest.raises(InvalidEvent, match=r"200,003 bytes .*over 200,000.*grid\.put"):
            send(plane, [*["x" * 100_000] * at, "y" * 200_001])

    @pytest.mark.parametrize("token", [True, False])
    def test_too_many_tasks(self, plane: Plane, monkeypatch: pytest.MonkeyPatch, token: bool) -> None:
        monkeypatch.setattr(limits, "MAX_SESSION_TASKS", 150)
        with pytest.raises(InvalidInput, match="at most 150 tasks"):
            send(plane, range(151), token=token, bundle_size=2)
        assert plane.store.live_sessions() == []

    def test_what_the_callers_iterator_raises_is_the_callers(self, plane: Plane) -> None:
        """At once: nothing was written. Later: kept for the same token, aborted without one."""

        class Mine(Exception):
            pass

        def events(count: int) -> Iterator[str]:
            yield from ["x" * 100_000] * count
            raise Mine

        with pytest.raises(Mine):
            send(plane, events(3))
        assert nothing_was_written(plane)
        with pytest.raises(Mine):
            send(plane, events(100), token=False)
        assert plane.store.session(ID, plane.clock.now()).state is SessionState.CANCELLED
        with pytest.raises(Mine):
            send(plane, events(100))
        assert plane.store.session(ID, plane.clock.now()).state is SessionState.SUBMITTED
        send(plane, (event for event in ["x" * 100_000] * 100))
        assert stored(plane) == ["x" * 100_000] * 100

    def test_cancelled_while_it_was_written(self, plane: Plane) -> None:
        from htcgrid_core.domain.errors import IllegalTransition

        def events() -> Iterator[str]:
            for number in range(200):
                if number == 150:
                    plane.store.advance(ID, SessionEvent.CANCEL, now=plane.clock.now(), actor="ada")
                yield "x" * 200_000

        with pytest.raises(IllegalTransition):
            send(plane, events())
        assert plane.store.session(ID, plane.clock.now()).state is SessionState.CANCELLING


class TestSameToken:
    @pytest.mark.parametrize("count", [3, MANY])
    @pytest.mark.parametrize("done", [0, 1, 1000])
    def test_same_body_is_the_same_session(self, plane: Plane, count: int, done: int) -> None:
        """While it runs and after its end; from a list or a generator; however many agents there are meanwhile."""
        send(plane, range(count), bundle_size=1)
        work_on(plane, lambda event: event, bundles=done)
        record = plane.store.session(ID, plane.clock.now())
        for events in (list(range(count)), iter(range(count))):
            assert send(plane, events, bundle_size=1) == record
        assert send(plane, range(count), bundle_size=7, agents=9) == record
        assert len(plane.store.history(ID)) == 2 + record.ended

    @pytest.mark.parametrize("count", [3, MANY])
    @pytest.mark.parametrize(
        "change",
        [
            {"events": ["0"]},
            {"events": []},
            {"name": "other"},
            {"max_failures": 1},
            {"task_timeout_seconds": 1.0},
            {"function": {"name": "pricing.other"}},
            {"codec": "pickle"},
        ],
    )
    def test_another_body_conflicts(self, plane: Plane, count: int, change: dict[str, Any]) -> None:
        events = [str(number) for number in range(count)]
        record = send(plane, events, bundle_size=1)
        with pytest.raises(SessionConflict, match="another token"):
            send(plane, **{"events": events, "bundle_size": 1, **change})
        assert plane.store.session(ID, plane.clock.now()) == record
        assert stored(plane) == events

    @pytest.mark.parametrize(
        ("one", "other"),
        [(["ab", "c"], ["a", "bc"]), (["a", "b"], ["b", "a"]), ([1], [True]), ([1], [1.0]), (["1"], [1]), ([], [None])],
    )
    def test_bodies_that_look_alike(self, plane: Plane, one: list[Any], other: list[Any]) -> None:
        send(plane, one)
        with pytest.raises(SessionConflict):
            send(plane, other)

    def test_without_a_token_an_id_is_used_once(self, plane: Plane) -> None:
        """Ids are random: the same one again is the same call, repeated after a lost reply."""
        first = send(plane, range(3), token=False)
        assert send(plane, range(3), token=False) == first

    def test_leftovers_of_a_crash_are_taken_over_as_they_were_cut(self, plane: Plane) -> None:
        """Another number of agents cuts other bundles; the same body is still the same."""
        events = [f"{number}" for number in range(400)]
        with pytest.raises(Crash):
            submit(failing_at(plane, 7, Crash, applied=True), ID, spec(agents=100), events, idempotent=True)
        assert 0 < plane.store.session(ID, plane.clock.now()).counters.total < 400
        record = send(plane, events, agents=3)
        assert stored(plane) == events
        assert parse(record).agents == 100
        assert_counters_exact(plane.store, ID)

    @pytest.mark.parametrize("change", ["first", "later", "fewer", "order"])
    def test_leftovers_of_another_body_conflict(self, plane: Plane, change: str) -> None:
        """What an unfinished submission wrote is never mixed with other events; not even with fewer of the same."""
        events = [f"{number}" for number in range(200)]
        crashing = failing_at(plane, 6, Crash, applied=True)
        with pytest.raises(Crash):
            submit(crashing, ID, spec(bundle_size=1), events, idempotent=True)
        left = plane.store.session(ID, plane.clock.now()).counters.total
        assert 64 < left < 200
        other = {
            "first": ["x", *events[1:]],
            "later": [*events[: left - 1], "x", *events[left:]],
            "fewer": events[:50],
            "order": events[::-1],
        }[change]
        with pytest.raises(SessionConflict):
            send(plane, other, bundle_size=1)
        send(plane, events, bundle_size=1)
        assert stored(plane) == events

    @pytest.mark.parametrize("aborted", [True, False])
    def test_large_leftovers_of_another_body(self, plane: Plane, aborted: bool) -> None:
        """A blob that another try left under the same root, of the same size, is never run in its place."""
        size = limits.INLINE_PAYLOAD_BYTES
        old, new = ["a" * size, "b" * size, "c"], ["A" * size, "b" * size, "c"]
        with pytest.raises(Crash):
            submit(failing_at(plane, 5, Crash, applied=True), ID, spec(), iter(old), idempotent=True)
        if aborted:
            plane.store.advance(ID, SessionEvent.ABORT, now=plane.clock.now(), actor="reconciler")
            send(plane, iter(new))
            assert stored(plane) == new
        else:
            with pytest.raises(SessionConflict):
                send(plane, iter(new))
            send(plane, iter(old))
            assert stored(plane) == old

    @pytest.mark.parametrize("count", [10, 300])
    def test_many_submitters_at_once(self, tmp_path: Path, clock: ManualClock, count: int) -> None:
        """The same body from several processes is one session for all of them."""

        def submit_once() -> SessionRecord:
            plane = memory_plane(tmp_path, database=tmp_path / "grid.db", clock=clock)
            return send(plane, range(count), bundle_size=1)

        memory_plane(tmp_path, database=tmp_path / "grid.db")
        answers = together([submit_once] * 6)
        plane = memory_plane(tmp_path, database=tmp_path / "grid.db", clock=clock)
        record = plane.store.session(ID, clock.now())
        assert answers == [record] * 6
        assert stored(plane) == list(range(count))
        assert len(plane.store.history(ID)) == 2

    @pytest.mark.parametrize("count", [10, 300])
    def test_many_submitters_of_different_bodies_at_once(self, tmp_path: Path, clock: ManualClock, count: int) -> None:
        """One body wins whole, everybody else is told that the token is taken."""

        def submit_one(number: int) -> SessionRecord:
            plane = memory_plane(tmp_path, database=tmp_path / "grid.db", clock=clock)
            return send(plane, [f"{number}-{index}" for index in range(count)], bundle_size=1)

        memory_plane(tmp_path, database=tmp_path / "grid.db")
        answers = together([partial(submit_one, number) for number in range(4)])
        plane = memory_plane(tmp_path, database=tmp_path / "grid.db", clock=clock)
        winners = [number for number, answer in enumerate(answers) if isinstance(answer, SessionRecord)]
        assert all(isinstance(answer, SessionRecord | SessionConflict) for answer in answers), answers
        assert len(winners) == 1
        assert stored(plane) == [f"{winners[0]}-{index}" for index in range(count)]


class TestTrouble:
    @pytest.mark.parametrize("applied", [True, False])
    @pytest.mark.parametrize("count", [3, MANY])
    @pytest.mark.parametrize("token", [True, False])
    def test_a_lost_call_or_reply_anywhere(self, tmp_path: Path, applied: bool, count: int, token: bool) -> None:
        """S7: each call may have to be repeated, and was perhaps applied; the session is exact all the same."""
        names = calls_of(memory_plane(tmp_path), lambda plane: send(plane, range(count), token=token, bundle_size=1))
        for number, name in enumerate(names, 1):
            if name == "ring":
                continue  # never fails
            plane = memory_plane(tmp_path)
            failing = failing_at(plane, number, GridUnavailable, applied=applied, times=2)
            record = send(failing, range(count), token=token, bundle_size=1)
            assert record.acknowledged
            assert stored(plane) == list(range(count))
            assert_counters_exact(plane.store, ID)
            assert len(plane.store.history(ID)) == 2

    @pytest.mark.parametrize("count", [3, MANY])
    def test_a_grid_that_stays_away(self, tmp_path: Path, count: int) -> None:
        """GridUnavailable after a few tries; the same token carries on when it is back."""
        calls = calls_of(memory_plane(tmp_path), lambda elsewhere: send(elsewhere, range(count), bundle_size=1))
        for number in range(1, len(calls) + 1):
            plane = memory_plane(tmp_path)
            failing = failing_at(plane, number, GridUnavailable, applied=False, times=10_000)
            with pytest.raises(GridUnavailable):
                send(failing, range(count), bundle_size=1)
            send(plane, range(count), bundle_size=1)
            assert stored(plane) == list(range(count))

    def test_a_grid_that_stays_away_and_no_token(self, plane: Plane) -> None:
        """What was begun is left to the reconciler, and the error says so."""
        failing = failing_at(plane, 4, GridUnavailable, applied=False, times=10_000)
        with pytest.raises(GridUnavailable) as caught:
            send(failing, range(MANY), token=False, bundle_size=1)
        assert "reconciler" in "".join(caught.value.__notes__)


def test_the_spec_that_was_stored_is_the_one_that_runs(plane: Plane) -> None:
    """A repetition with another environment changes nothing of the first."""
    first: SessionSpec = spec(agents=2)
    submit(plane, ID, first, range(10), idempotent=True)
    submit(plane, ID, spec(agents=5), range(10), idempotent=True)
    assert parse(plane.store.session(ID, plane.clock.now())) == first
