"""Sealed uploads become sessions: whoever dies in the middle, another goes on, and nothing is believed unseen."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path

import pytest

from htcgrid_core.codecs import frames
from htcgrid_core.codecs.event_parts import events_of_lines
from htcgrid_core.codecs.tasks import task_of
from htcgrid_core.domain import agent_version, limits
from htcgrid_core.domain.errors import IncompatibleGrid, InvalidInput, SessionConflict, SessionNotFound
from htcgrid_core.domain.lifecycle import SessionEvent, SessionState
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.gateway.served import ServedGrid
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import ownership, results, uploads
from htcgrid_core.services import submit as submitting
from htcgrid_core.services.asked import Asked
from htcgrid_core.services.cancel import cancel
from htcgrid_core.services.cutting import announce_upload, cut
from htcgrid_core.services.direct_parts import INCOMING, LISTED_ALONE, DirectPart, listed
from htcgrid_core.services.functions import deploy
from htcgrid_core.services.reconcile import reconcile
from htcgrid_core.services.submit import submit
from htcgrid_core.services.sweep import sweep
from htcgrid_core.testing.contracts.facts import assert_counters_exact, assert_history_chains
from htcgrid_core.testing.contracts.gateway_functions import draft, package
from tests.faults import Crash, calls_of, failing_at
from tests.manual_agent import finish, parse
from tests.planes import ManualClock, StillDeployment, memory_plane, spec

ID = "s-0123456789abcdef"
NDJSON = "application/x-ndjson"
# Three steps of bundles, of parts that end in the middle of them; empty lines are none.
STEP = 6
PARTS = [b"".join(b"%d\n" % (100 * part + n) for n in range(5)) + b"\n" for part in range(3)]
EVENTS = [100 * part + n for part in range(3) for n in range(5)]
SPEC = spec(bundle_size=1)


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitting, "WRITE_BUNDLES", STEP)
    monkeypatch.setattr(submitting, "WHOLE_BUNDLES", STEP)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def plane(folder: Path) -> Plane:
    return memory_plane(folder / "plane")


def part_of(number: int, body: bytes) -> DirectPart:
    return DirectPart(number, len(body), hashlib.sha256(body).hexdigest(), NDJSON)


def put(plane: Plane, number: int, body: bytes) -> None:
    """As a client does by a URL."""
    plane.blobs.put(part_of(number, body).key(ID), body)


def sealed(plane: Plane, parts: list[bytes] = PARTS, *, tenants: frozenset[str] | None = frozenset()) -> Plane:
    uploads.start(plane, ID, Asked(SPEC, actor="acme", tenants=tenants).write())
    for number, body in enumerate(parts):
        put(plane, number, body)
    announce_upload(plane, uploads.seal(plane, ID, len(parts)))
    return plane


def row(plane: Plane) -> SessionRecord:
    return plane.store.session(ID, plane.clock.now())


def assert_whole_and_once(plane: Plane) -> None:
    finish(plane, lambda event: [event])
    (record,) = plane.store.sessions(plane.clock.now())
    assert record.state is SessionState.COMPLETED
    assert record.counters.completed == record.counters.total == len(EVENTS)
    spec_of_it = parse(record)
    found = list(results.in_index_order(plane, record, spec_of_it))
    assert [index for index, _ in found] == list(range(len(EVENTS)))
    assert [task_of(spec_of_it, outcome).result for _, outcome in found if outcome] == [[e] for e in EVENTS]
    assert_counters_exact(plane.store, ID)
    assert_history_chains(plane.store, ID)
    assert plane.blobs.keys(uploads.UPLOADS) == []


def assert_refused(plane: Plane, why: str) -> None:
    """The session is over, says why, and nothing of its parts is left."""
    assert cut(plane, ID) is None
    assert row(plane).state is SessionState.CANCELLED
    assert why in row(plane).reason
    upload = uploads.read(plane, ID)
    assert upload.failed is not None
    assert why in upload.failed["detail"]
    assert plane.blobs.keys(INCOMING) == []
    assert cut(plane, ID) is None


# Whoever dies


def test_whoever_cuts_dies_at_any_call_and_another_goes_on(folder: Path) -> None:
    count = len(calls_of(sealed(memory_plane(folder / "count")), lambda plane: cut(plane, ID)))
    assert count > 10
    for number, applied in product(range(1, count + 1), (False, True)):
        plane = sealed(memory_plane(folder / f"{number}-{applied}"))
        with suppress(Crash):  # but where what is read is not there in any case
            cut(failing_at(plane, number, Crash, applied=applied), ID)
        cut(plane, ID)
        assert_whole_and_once(plane)
        # What nobody knows of any more is left to the bucket's rule, and to sweeps.
        assert plane.blobs.keys(INCOMING) == [] or number >= count - 1


def test_what_was_submitted_does_not_fail_for_parts_that_are_gone(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a bucket's rule takes them away, if whoever cut died before the upload was forgotten."""

    def die(plane: Plane, session_id: str) -> None:
        raise Crash

    sealed(plane)
    with monkeypatch.context() as patched:
        patched.setattr(uploads, "forget", die)
        with pytest.raises(Crash):
            cut(plane, ID)
    assert row(plane).acknowledged
    plane.blobs.delete_prefix(INCOMING)
    assert cut(plane, ID) is None
    assert_whole_and_once(plane)


def test_who_goes_on_reads_no_part_that_is_written(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed(plane)
    assert cut(plane, ID, lambda: False) is None  # after one step
    assert row(plane).state is SessionState.SUBMITTED
    assert row(plane).counters.total == STEP
    read: list[int] = []
    events = uploads.events

    def noted(plane: Plane, upload: uploads.Upload, number: int) -> Iterator[object]:
        read.append(number)
        return events(plane, upload, number)

    monkeypatch.setattr(uploads, "events", noted)
    assert cut(plane, ID) is not None
    assert read == [1, 2]
    assert_whole_and_once(plane)
    assert plane.blobs.keys(INCOMING) == []


def priced(plane: Plane, schema: dict[str, object]) -> None:
    """The parts, sealed for a function whose events are as this schema says."""
    version = deploy(plane, draft("priced", events_schema=schema), package())
    uploads.start(plane, ID, Asked(SPEC.model_copy(update={"function": version.spec()}), actor="acme").write())
    for number, body in enumerate(PARTS):
        put(plane, number, body)
    announce_upload(plane, uploads.seal(plane, ID, len(PARTS)))


def test_what_is_not_as_its_functions_schema_says_is_refused_before_a_task_is_written(plane: Plane) -> None:
    priced(plane, {"maximum": 200})
    assert_refused(plane, "4 of 15 events are not what they should be\n  row 11: ")
    assert row(plane).counters.total == 0
    assert plane.blobs.keys("sessions/") == []
    failed = uploads.read(plane, ID).failed
    assert failed is not None
    assert [one["row"] for one in failed["problems"]] == [11, 12, 13, 14]
    assert (failed["code"], failed["bad"], failed["checked"]) == ("invalid-events", 4, 15)


def test_parts_that_were_found_good_are_not_looked_at_again(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever checks may be stopped behind each part, and later whoever cuts after each step."""
    priced(plane, {"maximum": 1000})
    read: list[int] = []
    events = uploads.events

    def noted(plane: Plane, upload: uploads.Upload, number: int) -> Iterator[object]:
        read.append(number)
        return events(plane, upload, number)

    monkeypatch.setattr(uploads, "events", noted)
    for number in range(3):
        assert cut(plane, ID, lambda: False) is None
        assert (read, row(plane).counters.total) == (list(range(number + 1)), 0)
    assert cut(plane, ID, lambda: False) is None
    assert (read[:4], row(plane).counters.total) == ([0, 1, 2, 0], STEP)
    assert cut(plane, ID) is not None
    assert read.count(0) == 2, "once to look at it, and once to write it"
    assert_whole_and_once(plane)


def test_an_upload_for_a_function_with_a_schema_is_nothing_for_releases_that_do_not_check(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    priced(plane, {"maximum": 200})
    monkeypatch.setattr(agent_version, "AGENT_VERSION", agent_version.SCHEMAS_AGENT_VERSION - 1)
    with pytest.raises(IncompatibleGrid):
        cut(plane, ID)
    monkeypatch.undo()
    assert_refused(plane, "4 of 15 events")


def test_pauses_at_every_step_end_in_the_same_session(plane: Plane) -> None:
    sealed(plane)
    steps = 0
    while cut(plane, ID, lambda: False) is None:
        steps += 1
        assert steps < 10
    assert steps == 2
    assert_whole_and_once(plane)


def test_two_at_once_make_one_session(plane: Plane) -> None:
    """The second does all of it while the first is in the middle."""
    sealed(plane)
    done: list[SessionRecord | None] = []

    def meanwhile() -> bool:
        if not done:
            done.append(None)
            done[0] = cut(plane, ID)
        return True

    cut(plane, ID, meanwhile)
    assert done[0] is not None
    assert_whole_and_once(plane)


def test_parts_that_came_through_a_server_are_gone_on_with_too(plane: Plane) -> None:
    uploads.start(plane, ID, Asked(SPEC, actor="acme").write())
    for number, body in enumerate(PARTS):
        uploads.put_part(plane, ID, number, frames.pack([bytes(line) for line in body.split()]))
    uploads.seal(plane, ID, 3)
    assert cut(plane, ID, lambda: False) is None
    assert cut(plane, ID) is not None
    assert_whole_and_once(plane)


# Who finds it


def test_a_reconciler_finds_it_and_does_not_give_it_up(folder: Path) -> None:
    clock = ManualClock()
    plane = sealed(memory_plane(folder / "clock", clock=clock))
    assert reconcile(plane, 10.0).uncut == [ID]
    cut(plane, ID, lambda: False)
    assert reconcile(plane, 10.0).uncut == []  # somebody is at it
    assert reconcile(plane, 10.0, thorough=True).uncut == [ID]
    clock.pass_(limits.CUT_STALL_TICKS * 10.0)
    assert reconcile(plane, 10.0).uncut == [ID]
    clock.pass_(2 * limits.SUBMIT_STALL_SECONDS)
    done = reconcile(plane, 10.0)
    assert (done.uncut, done.aborted) == ([ID], 0)
    cut(plane, ID)
    assert reconcile(plane, 10.0).uncut == []
    assert_whole_and_once(plane)


def test_one_that_was_cancelled_stays_so(plane: Plane) -> None:
    sealed(plane)
    cut(plane, ID, lambda: False)
    plane.store.advance(ID, SessionEvent.CANCEL, now=plane.clock.now(), actor="acme", reason="enough")
    assert cut(plane, ID) is None
    plane.store.advance(ID, SessionEvent.DRAIN, now=plane.clock.now(), actor="acme", reason="enough")
    announce_upload(plane, uploads.read(plane, ID))
    assert cut(plane, ID) is None
    assert row(plane).state is SessionState.CANCELLED
    with pytest.raises(SessionNotFound):
        uploads.read(plane, ID)
    assert plane.blobs.keys(INCOMING) == []


# What is no good


def test_a_server_forgets_the_parts_of_one_that_was_cancelled_without_it(plane: Plane) -> None:
    """As by a client of the grid itself, which knows of no upload."""
    cancel(sealed(plane), ID, actor="tester")
    reconcile(plane, 1.0)
    ServedGrid(InProcessGateway(StillDeployment(plane))).submit_upload(ID, lambda: True)
    assert row(plane).state is SessionState.CANCELLED
    assert plane.blobs.keys(INCOMING) == plane.blobs.keys(uploads.UPLOADS) == []


def test_a_line_that_is_no_json_ends_the_session_with_its_number(plane: Plane) -> None:
    sealed(plane, [*PARTS, b'1\n\n{"a": \n2\n'])
    assert_refused(plane, "part 3, line 3: it is no JSON")
    assert row(plane).counters.total == 0


def test_a_bad_line_behind_what_is_written_ends_what_runs(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SUBMIT_BUFFER_BYTES", 10)
    sealed(plane, [*PARTS, b"nonsense"])
    assert_refused(plane, "part 3, line 1: it is no JSON")
    assert row(plane).counters.total == 2 * STEP


def test_a_part_that_is_gone_ends_the_session(plane: Plane) -> None:
    sealed(plane)
    plane.blobs.delete_prefix(f"{INCOMING}default/{ID}/000001/")
    assert_refused(plane, "part 1 of session")


@pytest.mark.parametrize("change", ["other bytes", "shorter", "longer"])
def test_a_part_that_is_not_what_was_announced_is_not_believed(plane: Plane, change: str) -> None:
    """As a store would let it be that enforces no checksum, or whose objects somebody else may write."""
    sealed(plane)
    key = part_of(1, PARTS[1]).key(ID)
    body = {"other bytes": PARTS[1].replace(b"1", b"2"), "shorter": PARTS[1][:-1], "longer": PARTS[1] + b"7\n"}[change]
    plane.blobs.delete_prefix(key.rpartition("/")[0] + "/")
    plane.blobs.put(key, body)
    assert_refused(plane, "is not what was announced")


def test_a_part_lacks_when_it_is_sealed(plane: Plane) -> None:
    uploads.start(plane, ID, Asked(SPEC).write())
    put(plane, 0, PARTS[0])
    put(plane, 2, PARTS[2])
    with pytest.raises(InvalidInput, match="lacks 1 of 3 parts: 1"):
        uploads.seal(plane, ID, 3)


def test_a_part_with_two_contents_is_not_sealed(plane: Plane) -> None:
    uploads.start(plane, ID, Asked(SPEC).write())
    put(plane, 0, PARTS[0])
    put(plane, 0, PARTS[1])
    assert sorted(listed(plane, ID)[0]) == sorted([part_of(0, PARTS[0]), part_of(0, PARTS[1])])
    with pytest.raises(InvalidInput, match="1 parts with two contents: 0"):
        uploads.seal(plane, ID, 1)


@pytest.mark.parametrize("same", [True, False])
def test_a_part_that_came_both_ways_must_be_the_same(plane: Plane, same: bool) -> None:
    uploads.start(plane, ID, Asked(SPEC).write())
    for number, body in enumerate(PARTS):
        put(plane, number, body)
    through = PARTS[1] if same else PARTS[1] + b"7\n"
    uploads.put_part(
        plane, ID, 1, frames.pack([event for event in events_of_lines(through) if isinstance(event, bytes)])
    )
    announce_upload(plane, uploads.seal(plane, ID, 3))
    if same:
        assert cut(plane, ID) is not None
        assert_whole_and_once(plane)
    else:
        assert_refused(plane, "was sent twice, with two contents")


@pytest.mark.parametrize("owner", ["default", "desk", "others"])
def test_an_event_names_only_what_its_sender_may_use(plane: Plane, owner: str) -> None:
    digest = hashlib.sha256(b"1").hexdigest()
    plane.blobs.put(f"shared/{digest}", b"1")
    ownership.note(plane, owner, f"shared/{digest}")
    reference = b'{"$htcgrid.shared": "%s", "codec": "json"}' % digest.encode()
    assert next(events_of_lines(reference)) != reference  # it is one
    sealed(plane, [*PARTS[:1], reference], tenants=frozenset({"desk"}))
    if owner == "others":
        assert_refused(plane, f"shared input {digest} is not in this grid")
    else:
        assert cut(plane, ID) is not None


def test_anybodys_input_may_be_named_by_who_serves_everybody(plane: Plane) -> None:
    digest = hashlib.sha256(b"1").hexdigest()
    plane.blobs.put(f"shared/{digest}", b"1")
    sealed(plane, [b'{"$htcgrid.shared": "%s", "codec": "json"}' % digest.encode()], tenants=None)
    assert cut(plane, ID) is not None


# The same again


def test_the_same_parts_again_are_the_same_session_and_others_a_conflict(plane: Plane) -> None:
    sealed(plane)
    assert cut(plane, ID) is not None
    sealed(plane)
    found = cut(plane, ID)
    assert found is not None
    assert found.counters.total == len(EVENTS)
    sealed(plane, [*PARTS[:2], b"7"])
    with pytest.raises(SessionConflict):
        cut(plane, ID)
    assert plane.blobs.keys(INCOMING) == []
    assert_whole_and_once(plane)


def test_the_same_events_in_one_request_are_the_same_session(plane: Plane) -> None:
    sealed(plane)
    assert cut(plane, ID) is not None
    events = [b"%d" % event for event in EVENTS]
    again = submit(plane, ID, SPEC, events, total=len(events), idempotent=True)
    assert again.counters.total == len(EVENTS)
    with pytest.raises(SessionConflict):
        submit(plane, ID, SPEC, events[:-1], total=None, idempotent=True)
    assert_whole_and_once(plane)


def test_events_of_one_request_in_parts_are_the_same_session(plane: Plane) -> None:
    events = [b"%d" % event for event in EVENTS]
    submit(plane, ID, SPEC, events, total=len(events), idempotent=True)
    sealed(plane)
    assert cut(plane, ID) is not None
    assert_whole_and_once(plane)


# What is left


def test_parts_that_nobody_seals_are_swept(folder: Path) -> None:
    clock = ManualClock(wall=time.time())
    plane = memory_plane(folder / "sweep", clock=clock)
    uploads.start(plane, ID, Asked(SPEC).write())
    put(plane, 0, PARTS[0])
    sweep(plane)
    assert len(plane.blobs.keys(INCOMING)) == 1
    clock.wall = time.time() + 2 * limits.UNUSED_BLOB_SECONDS  # files say when they were written
    sweep(plane)
    assert plane.blobs.keys(INCOMING) == []


def test_names_that_are_no_parts_are_passed_over(plane: Plane) -> None:
    uploads.start(plane, ID, Asked(SPEC).write())
    plane.blobs.put(f"{INCOMING}default/{ID}/000000/something", b"1")
    assert listed(plane, ID) == {}
    assert DirectPart.named(0, "1.xyz.ndjson") is None


def test_a_few_parts_are_looked_for_alone(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that asks for one URL after the other must not have all that are there listed each time."""
    for number in range(LISTED_ALONE + 2):
        put(plane, number, b"%d\n" % number)
    keys, read = plane.blobs.keys, list[str]()

    def noted(prefix: str) -> list[str]:
        found = keys(prefix)
        read.extend(found)
        return found

    monkeypatch.setattr(plane.blobs, "keys", noted)
    one = part_of(3, b"3\n")
    assert listed(plane, ID, [3, LISTED_ALONE + 5]) == {3: [one]}
    assert read == [one.key(ID)]
    read.clear()
    assert (
        sorted(listed(plane, ID, range(LISTED_ALONE + 1))) == sorted(listed(plane, ID)) == list(range(LISTED_ALONE + 2))
    )
    assert len(read) == 2 * (LISTED_ALONE + 2)


def test_cutting_what_is_no_upload_is_nothing(plane: Plane) -> None:
    assert cut(plane, ID) is None
    uploads.start(plane, ID, Asked(SPEC).write())
    assert cut(plane, ID) is None
