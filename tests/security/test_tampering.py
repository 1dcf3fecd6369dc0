"""Whoever can write into the grid's rows and blobs, but has not its key, gets nothing loaded that runs code."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import SessionState, TaskFailed, TaskState, connect
from htcgrid_core.agent.loop.blob_verifier import BlobVerifier
from htcgrid_core.codecs import frames
from htcgrid_core.codecs import outcomes as codec
from htcgrid_core.codecs.outcomes import Outcome, Outcomes, encode_error
from htcgrid_core.codecs.signing import FUNCTION_PURPOSE, SHARED_PURPOSE, Key, seal
from htcgrid_core.domain.bundle import root_id
from htcgrid_core.domain.errors import CorruptPayload, SignatureInvalid
from htcgrid_core.domain.outcome import TaskError
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import payloads
from tests.e2e.support import ended, fresh_grid
from tests.manual_agent import finish, take
from tests.planes import KEY, plane_of, spec, still_grid
from tests.security.bomb import Bomb

WRONG_KEY = b"w" * 32


@pytest.fixture
def bomb(tmp_path: Path) -> Bomb:
    bomb = Bomb(tmp_path)
    assert not bomb.went_off
    return bomb


def test_the_bomb_works(bomb: Bomb) -> None:
    """Or else nothing here could fail."""
    pickle.loads(bomb.data)
    assert bomb.went_off


def overwrite(plane: Plane, statement: str, *values: Any) -> None:
    """Write into the tables, past every check."""
    database = plane.store._database  # type: ignore[attr-defined]
    assert database.write(lambda db: db.execute(statement, values).rowcount) > 0


def forgeries(session_id: str, what: str, of: str, packed: bytes) -> list[bytes]:
    """Packed bytes as somebody without the key, or with what they saw elsewhere, might write them."""
    purpose = f"{what} of {of}"
    good = seal(Key(KEY), session_id, purpose, packed)
    return [
        packed,
        b"\0" * 32 + packed,
        seal(Key(WRONG_KEY), session_id, purpose, packed),
        seal(Key(KEY), "s-another", purpose, packed),
        seal(Key(KEY), session_id, f"{what} of another", packed),
        seal(Key(KEY), session_id, "", packed),
        good[:32] + packed[:-1] + bytes([packed[-1] ^ 1]),
    ]


class TestEvents:
    def test_forged_events_are_never_loaded(self, plane: Plane, bomb: Bomb) -> None:
        """The bundle can be claimed, and its tasks fail."""
        session = still_grid(plane).submit(len, ["a"])
        blob = session.spec.function.blob
        assert blob is not None
        packed = frames.pack([bomb.data])
        for number, forged in enumerate(forgeries(session.id, payloads.EVENTS, blob, packed)):
            overwrite(plane, "UPDATE blocks SET data = ?, size = ?", forged, len(forged))
            plane.clock.sleep(31)
            work = take(plane, Hint(session.id, root_id(0)), f"agent-{number}")
            assert work is not None
            assert work.events is None
            assert "signature" in work.corrupt
        assert not bomb.went_off

    def test_events_of_another_session_are_not_its_own(self, plane: Plane) -> None:
        """Neither in a row nor by the key of a blob."""
        grid = still_grid(plane)
        mine, theirs = grid.submit(len, ["mine"]), grid.submit(len, ["theirs"])
        (block,) = plane.store.blocks(theirs.id, 0, 1)
        assert block.payload.data is not None
        key = f"sessions/{theirs.id}/events/{root_id(0)}"
        plane.blobs.put(key, block.payload.data)
        for data, blob_key in (
            (block.payload.data, None),
            (None, key),
            (None, "functions/x"),
            (None, "../../etc/passwd"),
        ):
            overwrite(plane, "UPDATE blocks SET data = ?, blob_key = ? WHERE session_id = ?", data, blob_key, mine.id)
            plane.clock.sleep(31)
            work = take(plane, Hint(mine.id, root_id(0)))
            assert work is not None
            assert work.events is None, "another session's events would have run"


class TestResults:
    def page(self, payload: bytes, *, failed: bool = False) -> bytes:
        outcomes = Outcomes()
        outcomes.append(Outcome(0, failed, 1, 0.0, 0.0, payload, "", ""))
        return codec.pack(outcomes)

    @pytest.mark.parametrize("failed", [False, True])
    def test_forged_results_are_never_loaded(self, plane: Plane, bomb: Bomb, failed: bool) -> None:
        """Nor are exceptions."""
        grid = still_grid(plane)
        session = grid.submit(len, ["a"])
        finish(plane, len)
        assert list(session.results()) == [1]
        payload = encode_error(TaskError("E", "m", "t"), bomb.data) if failed else bomb.data
        blob = session.spec.function.blob
        assert blob is not None
        for forged in forgeries(session.id, payloads.OUTCOMES, blob, self.page(payload, failed=failed)):
            overwrite(plane, "UPDATE outcomes SET data = ?, size = ?, failed = 1", forged, len(forged))
            again = grid.session(session.id)
            for read in (again.results, again.tasks, again.as_completed):
                with pytest.raises(SignatureInvalid):
                    list(read())
        assert not bomb.went_off

    def test_exceptions_of_json_sessions_are_text(self, plane: Plane, bomb: Bomb) -> None:
        """They are not signed, so whatever they carry is not loaded."""
        grid = still_grid(plane)
        session = grid.submit("math.sqrt", [1])
        finish(plane, lambda event: event)
        page = self.page(encode_error(TaskError("E", "m", "t"), bomb.data), failed=True)
        overwrite(plane, "UPDATE outcomes SET data = ?, size = ?, failed = 1", page, len(page))
        (task,) = grid.session(session.id).tasks()
        assert task.error == TaskError("E", "m", "t")
        assert not bomb.went_off

    def test_a_json_session_cannot_be_turned_into_a_pickled_one(self, plane: Plane, bomb: Bomb) -> None:
        """Its unsigned pages do not verify then."""
        grid = still_grid(plane)
        session = grid.submit("math.sqrt", [1])
        finish(plane, lambda event: event)
        page = self.page(bomb.data)
        overwrite(plane, "UPDATE outcomes SET data = ?, size = ?", page, len(page))
        overwrite(plane, """UPDATE sessions SET spec = replace(spec, '"codec":"json"', '"codec":"pickle"')""")
        with pytest.raises(SignatureInvalid):
            list(grid.session(session.id).results())
        assert not bomb.went_off


class TestFunctionsAndSharedInputs:
    def test_whatever_is_not_under_its_digest(self, plane: Plane, bomb: Bomb) -> None:
        import hashlib

        verifier = BlobVerifier(plane)
        good = seal(Key(KEY), "", FUNCTION_PURPOSE, b"code")
        key = f"functions/{hashlib.sha256(good).hexdigest()}"
        plane.blobs.put(key, bomb.data)
        with pytest.raises(CorruptPayload, match="digest"):
            verifier.function(spec(function={"name": "x:y", "blob": key}))

    @pytest.mark.parametrize(
        "sealed",
        [
            lambda data: data,
            lambda data: seal(Key(WRONG_KEY), "", FUNCTION_PURPOSE, data),
            lambda data: seal(Key(KEY), "", SHARED_PURPOSE, data),
            lambda data: seal(Key(KEY), "s-1", FUNCTION_PURPOSE, data),
        ],
    )
    def test_whatever_is_not_signed_as_a_function(self, plane: Plane, bomb: Bomb, sealed: Any) -> None:
        """A shared input, which a user may choose, is no function."""
        import hashlib

        data = sealed(bomb.data)
        key = f"functions/{hashlib.sha256(data).hexdigest()}"
        plane.blobs.put(key, data)
        with pytest.raises(SignatureInvalid):
            BlobVerifier(plane).function(spec(function={"name": "x:y", "blob": key}))
        reference = f"{hashlib.sha256(data).hexdigest()}.pickle"
        plane.blobs.put(f"shared/{reference.removesuffix('.pickle')}", data)
        if data != seal(Key(KEY), "", SHARED_PURPOSE, bomb.data):
            with pytest.raises(SignatureInvalid):
                BlobVerifier(plane).shared((reference,))

    @pytest.mark.parametrize("reference", ["../key.bytes", "../../etc/passwd.bytes", "/etc/passwd.json", ".json", "x"])
    def test_references_stay_where_shared_inputs_are(self, plane: Plane, reference: str) -> None:
        with pytest.raises(CorruptPayload):
            BlobVerifier(plane).shared((reference,))


class TestAgent:
    """A real agent and its workers."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> Iterator[str]:
        with fresh_grid(tmp_path / "grid") as url:
            yield url

    @pytest.mark.parametrize("what", ["events", "function"])
    def test_fails_the_tasks_and_goes_on(self, url: str, bomb: Bomb, what: str) -> None:
        with connect(url) as grid:
            still = still_grid(plane_of(grid))  # nobody runs it yet
            session = still.submit(len, ["a", "b"])
            if what == "events":
                forged = seal(
                    Key(WRONG_KEY), session.id, f"events of {session.spec.function.blob}", frames.pack([bomb.data] * 2)
                )
                overwrite(plane_of(grid), "UPDATE blocks SET data = ?, size = ?", forged, len(forged))
            else:
                assert session.spec.function.blob is not None
                path = plane_of(grid).blobs.path(session.spec.function.blob)
                path.write_bytes(path.read_bytes()[:32] + bomb.data)
            grid.wake()
            watched = grid.session(session.id)
            assert ended(watched).state is SessionState.FAILED
            tasks = list(watched.tasks())
            assert {(task.state, task.error and task.error.type) for task in tasks} == {
                (TaskState.FAILED, "CorruptPayload")
            }
            assert len(tasks) == 2
            assert list(grid.submit(abs, [-1]).results()) == [1]
        assert not bomb.went_off


def test_an_exception_that_is_not_what_it_seems(plane: Plane) -> None:
    """What a task raised is loaded from its session's signed pages only, and what cannot be loaded stays text."""
    grid = still_grid(plane)
    session = grid.submit(len, ["a"], max_failures=1)
    finish(plane, lambda event: (_ for _ in ()).throw(KeyError(event)))
    (result,) = session.results(errors="return")
    assert isinstance(result, TaskFailed)
    assert (result.error.type, result.error.exception) == ("KeyError", None)
