"""Archives: what one grid exports, another has as a session that has ended; or nothing, if anything is wrong."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core.codecs.buffers import joined
from htcgrid_core.codecs.failed_attempts import FailedAttempts
from htcgrid_core.codecs.mapped import in_place
from htcgrid_core.codecs.outcomes import Outcome, Outcomes
from htcgrid_core.codecs.signing import Key
from htcgrid_core.codecs.values import DECODERS, pickle_parts
from htcgrid_core.domain.errors import (
    CorruptPayload,
    IncompatibleGrid,
    InvalidInput,
    SessionConflict,
    SessionNotFinished,
    SessionNotFound,
    SignatureInvalid,
)
from htcgrid_core.domain.lifecycle import SessionEvent, SessionState
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.domain.task_error import TaskError
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.ports.keyring import Keyring
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import resubmit
from htcgrid_core.services.archives.exporting import export
from htcgrid_core.services.archives.importing import import_archive
from htcgrid_core.services.attempts import attempts_of
from htcgrid_core.services.commit import commit
from htcgrid_core.services.deletion import delete
from htcgrid_core.services.results import events_in_order, in_index_order
from tests.manual_agent import children, finish, parse, run, submit, take, work_on
from tests.planes import KEY, NOW, memory_plane, spec

ID, AGAIN = "s-archived", "s-again"
EVENTS = [{"n": number, "text": "x" * 300 + ' ,"result":1}\n é\ud800'} for number in range(10)]
Make = Callable[[bytes], Plane]


class Held:
    """Holds a buffer, as an array does."""

    def __init__(self, buffer: Any) -> None:
        self.buffer = buffer

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return Held, (pickle.PickleBuffer(self.buffer),)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Grids, by their keys, whose larger payloads are blobs."""
    made: list[Plane] = []

    def plane(key: bytes = KEY) -> Plane:
        one = memory_plane(tmp_path / f"grid-{len(made)}")
        object.__setattr__(one, "inline_payload_bytes", 1000)
        object.__setattr__(one, "keys", Keyring.of(key))
        made.append(one)
        return one

    return plane


def ran(plane: Plane, codec: str = "json", handler: Callable[[Any], Any] = lambda event: event, **asked: Any) -> None:
    asked = {"bundle_size": 3, "labels": {"desk": "rates"}, "codec": codec, **asked}
    submit(plane, ID, spec(**asked), EVENTS, idempotent=True)
    finish(plane, handler)


def exported(plane: Plane, *ids: str) -> io.BytesIO:
    file = io.BytesIO()
    export(plane, ids or [ID], file)
    return file


def imported(plane: Plane, file: io.BytesIO, **options: Any) -> list[tuple[str, bool]]:
    return [(one.session_id, one.is_new) for one in import_archive(plane, file, actor="alice", **options)]


def record_of(plane: Plane, session_id: str = ID) -> SessionRecord:
    return plane.store.session(session_id, plane.clock.now())


def seen(plane: Plane, session_id: str = ID) -> list[tuple[Any, ...]]:
    """All that readers see of its events and tasks."""
    record = record_of(plane, session_id)
    events = events_in_order(plane, record, parse(record))
    tasks = in_index_order(plane, record, parse(record))
    told = [
        (index, None if one is None else (one.failed, one.attempt, one.started, one.seconds, bytes(one.payload)))
        for index, one in tasks
    ]
    return list(zip(events, told, strict=True))


def changed(file: io.BytesIO, path: str, data: bytes) -> io.BytesIO:
    """The archive with other bytes in one of its files."""
    other = io.BytesIO()
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            new.writestr(name, data if name == path else old.read(name))
    return other


@pytest.mark.parametrize("codec", ["json", "pickle"])
def test_another_grid_has_the_same(make: Make, codec: str) -> None:
    """Events and results to the byte, with attempts and times, under the same id; and none of it runs."""
    here, there = make(KEY), make(KEY)
    ran(here, codec)
    assert imported(there, exported(here)) == [(ID, True)]
    found, original = record_of(there), record_of(here)
    assert seen(there) == seen(here)
    assert [DECODERS[codec](event) for event, _ in seen(there)] == EVENTS
    assert (found.state, found.digest, found.labels) == (SessionState.COMPLETED, original.digest, original.labels)
    assert (found.submitted_at, found.counters.completed) == (original.submitted_at, 10)
    assert found.expires_at is not None
    assert there.queue.receive("default", 10, there.clock.now()).messages == []
    asked = spec(bundle_size=3, labels={"desk": "rates"}, codec=codec)
    assert submit(there, ID, asked, EVENTS, idempotent=True) == found


def test_failures_gaps_and_attempts(make: Make) -> None:
    """What failed, and said what before it ran again, and what never ran."""
    here, there = make(KEY), make(KEY)
    asked = spec(bundle_size=4, max_failures=0, retry={"max_attempts": 2, "backoff_base_seconds": 0.001})
    submit(here, ID, asked, EVENTS, idempotent=True)
    work = take(here, Hint(ID, "00000000"))
    assert work is not None
    failed = FailedAttempts()
    failed.add(Outcome(1, True, 1, NOW, 0.25, b"", "printed", ""), TaskError("ValueError", "no", "trace"), "agent-1")
    done = run(here, work, _fails)
    commit(here, work, done.outcomes, children(here, work, done), None, attempts=failed.packed())
    work_on(here, _fails)
    here.clock.sleep(5.0)
    work_on(here, _fails)
    before = record_of(here)
    assert before.state is SessionState.FAILED
    assert before.counters.cancelled
    assert before.counters.failed
    imported(there, exported(here))
    after = record_of(there)
    assert seen(there) == seen(here)
    assert (after.state, after.reason) == (before.state, before.reason)
    assert (after.counters.failed, after.counters.cancelled) == (before.counters.failed, before.counters.cancelled)
    kept = attempts_of(here, before, 1)
    assert kept.found[0].stdout == "printed"
    assert [one.stdout for one in attempts_of(there, after, 1).found] == [one.stdout for one in kept.found]


def _fails(event: Any) -> Any:
    raise ValueError(f"no {event['n']}")


def test_cancelled(make: Make) -> None:
    here, there = make(KEY), make(KEY)
    submit(here, ID, spec(bundle_size=4), EVENTS, idempotent=True)
    for event in (SessionEvent.CANCEL, SessionEvent.DRAIN):
        here.store.advance(ID, event, now=here.clock.now(), actor="tester", reason="no need")
    imported(there, exported(here))
    found = record_of(there)
    assert (found.state, found.reason, found.counters.cancelled) == (SessionState.CANCELLED, "no need", 10)
    assert seen(there) == seen(here)
    assert there.store.open_bundles(ID, "", 100) == []


def test_twice_is_no_other(make: Make) -> None:
    """Nor where it is from; what differs under its id is a conflict, and stays."""
    here, there = make(KEY), make(KEY)
    ran(here)
    file = exported(here)
    for plane, is_new in ((here, False), (there, True), (there, False)):
        assert imported(plane, file) == [(ID, is_new)]
    other = make(KEY)
    ran(other, handler=lambda event: event["n"])
    before = seen(other)
    with pytest.raises(SessionConflict, match="is not what the archive holds"):
        imported(other, file)
    assert seen(other) == before
    assert exported(there).getvalue() != b""


def test_what_it_ran_again_comes_along(make: Make) -> None:
    """And is there first; without it, the session's results would have gaps."""
    here, there = make(KEY), make(KEY)
    submit(here, ID, spec(bundle_size=4), EVENTS, idempotent=True)
    here.store.advance(ID, SessionEvent.FAIL, now=here.clock.now(), actor="tester", reason="because")
    resubmit.resubmit(here, AGAIN, ID, agents=1, idempotent=True)
    finish(here, lambda event: event["n"])
    assert imported(there, exported(here, AGAIN)) == [(ID, True), (AGAIN, True)]
    record = record_of(there, AGAIN)
    merged = resubmit.merged_outcomes(there, record, parse(record))
    assert [int(one.payload) for _, one in merged if one is not None] == list(range(10))
    delete(here, ID, actor="alice")
    with pytest.raises(InvalidInput, match="which is gone"):
        exported(here, AGAIN)


def test_pickles_need_the_key(make: Make) -> None:
    """Of the grid that made the archive: as this grid's own, or given; they are signed anew then."""
    here, there = make(KEY), make(b"o" * 32)
    ran(here, "pickle")
    file = exported(here)
    with pytest.raises(SignatureInvalid, match="--key FILE"):
        imported(there, file)
    with pytest.raises(SignatureInvalid, match="the key that was given is"):
        imported(there, file, key=Key(b"x" * 32))
    with pytest.raises(SessionNotFound):
        record_of(there)
    assert imported(there, file, key=Key(KEY)) == [(ID, True)]
    assert [bytes(task[4]) for _, (_, task) in seen(there)] == [bytes(task[4]) for _, (_, task) in seen(here)]
    plain = make(KEY)
    ran(plain)
    assert imported(make(b"o" * 32), exported(plain)) == [(ID, True)]


def test_a_damaged_archive_writes_nothing(make: Make) -> None:
    """Whatever is wrong with it, also where its digests were made to fit."""
    here, there = make(KEY), make(KEY)
    ran(here)
    file = exported(here)
    with zipfile.ZipFile(file) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    results = f"sessions/{ID}/results.jsonl"
    newer = json.dumps({**manifest, "form": "htcgrid-sessions/2"}).encode()
    fitted = json.dumps({**manifest, "sessions": []}).encode()
    for broken, kind in (
        (io.BytesIO(b"no zip"), CorruptPayload),
        (io.BytesIO(file.getvalue()[:-100]), CorruptPayload),
        (changed(file, results, b"{}\n"), CorruptPayload),
        (changed(file, "manifest.json", b"{}"), CorruptPayload),
        (changed(file, "manifest.json", newer), IncompatibleGrid),
        (changed(file, "manifest.json", fitted), SignatureInvalid),
    ):
        with pytest.raises(kind):
            imported(there, broken)
        assert there.store.sessions(there.clock.now()) == []
        assert there.blobs.keys("sessions/") == []


def test_only_what_has_ended(make: Make) -> None:
    here = make(KEY)
    submit(here, ID, spec(), EVENTS, idempotent=True)
    with pytest.raises(SessionNotFinished, match="RUNNING"):
        exported(here)
    with pytest.raises(SessionNotFound):
        exported(here, "s-none")


def test_large_pickles_come_byte_by_byte(make: Make) -> None:
    """They were padded when they were committed, and are not again."""

    def pickled(value: Any) -> bytes:
        return joined(in_place(pickle_parts(value)))

    here, there = make(KEY), make(KEY)
    submit(here, ID, spec(bundle_size=2, codec="pickle"), [1, 2], idempotent=True)
    (message,) = here.queue.receive("default", 8, NOW).messages
    work, outcomes = take(here, message.hint), Outcomes()
    assert work is not None
    for index in (1, 0):  # as they ended: there they stand elsewhere
        outcomes.append(Outcome(index, False, 1, NOW, 1.0, pickled(Held(b"x" * (1 << 21) + b"y" * index)), "", ""))
    commit(here, work, outcomes, (), None)
    archive = io.BytesIO()
    export(here, [ID], archive)
    assert [found.is_new for _ in range(2) for found in import_archive(there, archive, actor="ann")] == [True, False]
    mine, theirs = (
        [outcome.payload for _, outcome in in_index_order(plane, record, record.parsed_spec()) if outcome is not None]
        for plane in (here, there)
        for record in [plane.store.session(ID, NOW)]
    )
    assert list(map(bytes, mine)) == list(map(bytes, theirs))
    assert bytes(DECODERS["pickle"](theirs[1]).buffer) == b"x" * (1 << 21) + b"y"


@pytest.mark.parametrize("call", ["put_bundles", "claim", "commit", "acknowledge", "advance"])
def test_an_import_that_is_killed_goes_on(make: Make, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """At its second call of each kind, or its first: until it is done, the session has not ended."""
    here, there = make(KEY), make(KEY)
    submit(here, ID, spec(bundle_size=1), EVENTS, idempotent=True)
    finish(here, lambda event: event)
    file, real, calls = exported(here), getattr(there.store, call), [0]

    def killed(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == (2 if call in ("claim", "commit") else 1):
            raise KeyboardInterrupt
        return real(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(there.store, call, killed)
        with pytest.raises(KeyboardInterrupt):
            imported(there, file)
    assert not record_of(there).ended
    assert there.queue.receive("default", 10, there.clock.now()).messages == []
    assert imported(there, file) == [(ID, True)]
    assert seen(there) == seen(here)
    assert imported(there, file) == [(ID, False)]
