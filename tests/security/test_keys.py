"""Rotation: a new key signs, the old ones verify for as long as something needs them, and nothing else is changed."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from htcgrid_core import Grid, Session, SignatureInvalid
from htcgrid_core.adapters.local.keys import FileKeys
from htcgrid_core.adapters.local.sqlite import lines
from htcgrid_core.agent.loop.blob_verifier import BlobVerifier
from htcgrid_core.codecs.signing import FUNCTION_PURPOSE, SIGNATURE_BYTES, Key, named_key, seal, unseal
from htcgrid_core.domain import agent_version, limits
from htcgrid_core.domain.errors import AccessDenied, GridUnavailable, IncompatibleGrid
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.ports.keyring import Keyring, KeyStore, StoredKeys
from htcgrid_core.ports.plane import Plane
from htcgrid_core.services import keys
from tests.manual_agent import finish
from tests.planes import ManualClock, memory_plane, plane_of, still_grid

DAY = limits.KEY_RETIRED_SECONDS


@pytest.fixture
def store(tmp_path: Path) -> FileKeys:
    return FileKeys(tmp_path)


@pytest.fixture
def plane(tmp_path: Path, clock: ManualClock, store: FileKeys) -> Plane:
    return replace(memory_plane(tmp_path, clock=clock), keys=Keyring(store, clock.monotonic))


@pytest.fixture
def grid(plane: Plane) -> Grid:
    return still_grid(plane)


@pytest.fixture
def rotated(plane: Plane, tmp_path: Path) -> Callable[[], Key]:
    """Rotates now, as the grid's own clock says."""

    def rotate() -> Key:
        number = keys.rotate(plane).number
        os.utime(tmp_path / "keys" / str(number), (plane.clock.now(),) * 2)
        return plane.keys.look().signer.key

    return rotate


def another_process(plane: Plane) -> Plane:
    """The same grid, as another process sees it that begins now."""
    return replace(plane, keys=Keyring(plane.keys.store, plane.clock.monotonic))


def double(event: int) -> int:
    return 2 * event


def stored(session: Session, plane: Plane) -> SessionSpec:
    """What the grid has of it: the client's own says what was asked for."""
    return plane.store.session(session.id, plane.clock.now()).parsed_spec()


def completed(session: Session, plane: Plane) -> list[object]:
    finish(plane, double)
    return list(session.results())


class TestSessions:
    def test_of_before_and_after_go_on_side_by_side(self, grid: Grid, plane: Plane, rotated: Callable[[], Key]) -> None:
        before = grid.submit(double, [1, 2])
        key = rotated()
        after = grid.submit(double, [3, 4])
        agent = another_process(plane)
        assert completed(before, agent) == [2, 4]
        assert completed(after, agent) == [6, 8]
        assert (stored(before, plane).signing_key, stored(after, plane).signing_key) == ("", key.id)

    def test_an_agent_that_runs_learns_the_new_key(self, grid: Grid, plane: Plane, rotated: Callable[[], Key]) -> None:
        agent = another_process(plane)
        rotated()
        assert completed(grid.submit(double, [1]), agent) == [2]

    def test_what_belongs_to_a_session_is_signed_with_one_key(
        self, grid: Grid, plane: Plane, rotated: Callable[[], Key]
    ) -> None:
        """So that a client of the release before, which knows one key, reads what it has submitted."""
        session = grid.submit(double, [1, 2])
        old = plane.keys.first()
        assert old is not None
        rotated()
        finish(plane, double)
        pages = plane.store.outcome_pages(session.id, 0, 10, failed_only=False)
        assert pages
        for page in pages:
            assert page.payload.data is not None
            assert unseal(
                Keyring.of(old.secret), session.id, f"outcomes of {session.spec.function.blob}", page.payload.data
            )

    def test_a_client_signs_with_the_new_key_within_a_minute(
        self, plane: Plane, clock: ManualClock, rotated: Callable[[], Key]
    ) -> None:
        client = still_grid(another_process(plane))
        key = rotated()
        assert stored(client.submit(double, [1]), plane).signing_key == ""
        clock.pass_(limits.KEYS_KNOWN_SECONDS)
        assert stored(client.submit(double, [1]), plane).signing_key == key.id

    def test_a_submission_that_is_repeated_is_the_same_one(
        self, grid: Grid, plane: Plane, rotated: Callable[[], Key]
    ) -> None:
        """With its callable and its pickled inputs, which are found as they were signed before."""

        def ask() -> Session:
            shared = still_grid(plane).put({1, 2}, codec="pickle")
            return still_grid(plane).submit(len, [shared], token="book")

        first = ask()
        rotated()
        again = ask()
        assert again.id == first.id
        assert stored(still_grid(plane).submit(double, [1]), plane).signing_key  # others are signed anew


class TestAgentsOfTheReleaseBefore:
    def test_sessions_of_a_grid_that_was_not_rotated_are_theirs(self, grid: Grid) -> None:
        spec = json.loads(stored(grid.submit(double, [1]), plane_of(grid)).text)
        assert not {"signing_key", "min_agent_version"} & set(spec)

    @pytest.mark.parametrize("function", [double, "math.sqrt"])
    def test_those_of_one_that_was_are_not(
        self,
        grid: Grid,
        rotated: Callable[[], Key],
        function: Callable[[int], int] | str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Their function or their inputs may be signed with the new key, whatever they are encoded with."""
        rotated()
        session = grid.submit(function, [1])
        assert stored(session, plane_of(grid)).min_agent_version == agent_version.SIGNING_KEYS_AGENT_VERSION
        record = plane_of(grid).store.session(session.id, plane_of(grid).clock.now())
        monkeypatch.setattr(agent_version, "AGENT_VERSION", agent_version.SIGNING_KEYS_AGENT_VERSION - 1)
        assert agent_version.is_for_newer_agents(record.spec)
        assert lines.line_of(record) not in lines.lines_of("default")

    def test_a_first_key_that_they_made_again_is_one_to_verify_with(
        self, grid: Grid, plane: Plane, store: FileKeys, clock: ManualClock, rotated: Callable[[], Key]
    ) -> None:
        """Where there is no file ``key``, the release before makes it."""
        signer = rotated()
        store.drop(1)
        plane.keys.look()
        store.make(1)
        again = store.read().keys[0].key
        clock.pass_(limits.KEYS_KNOWN_SECONDS)
        assert unseal(plane.keys, "s-1", "events", seal(again, "s-1", "events", b"body")) == b"body"
        assert plane.keys.signer() == signer


class TestNeeds:
    def test_what_each_key_is_needed_for(
        self, grid: Grid, plane: Plane, rotated: Callable[[], Key], tmp_path: Path
    ) -> None:
        (tmp_path / "app").mkdir()
        (tmp_path / "app" / "app.py").write_text("def handler(event, context):\n    return event\n")
        grid.deploy("app", tmp_path / "app", handler="app.handler")
        grid.submit(double, [1], pool="large")
        grid.submit("math.sqrt", [1])  # nothing of it is signed
        grid.put(b"\0" * 100)
        grid.put({"no": "pickle"})
        grid.put({1, 2}, codec="pickle")
        rotated()
        done = grid.submit(double, [1])
        completed(done, plane)
        first, second = keys.uses(plane)
        assert (first.signs, first.live, first.ended, first.deployed) == (False, 1, 0, ("app:1",))
        assert first.blobs == 3  # the callable, which both sessions share, the package and the set
        assert (second.signs, second.live, second.ended, second.deployed, second.blobs) == (True, 0, 1, (), 0)

    def test_rows_that_nobody_can_read_need_none(self, grid: Grid, plane: Plane) -> None:
        grid.submit(double, [1])
        plane.store._database.write(lambda db: db.execute("UPDATE sessions SET spec = '[]'"))  # type: ignore[attr-defined]
        assert [use.live for use in keys.uses(plane)] == [0]

    def test_more_sessions_than_are_read_at_once(
        self, grid: Grid, plane: Plane, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(keys, "SESSIONS_AT_ONCE", 3)
        for _ in range(8):
            grid.submit(double, [1])
            clock.pass_(1)
        assert [use.live for use in keys.uses(plane)] == [8]


class TestDropping:
    def test_not_while_a_session_can_be_read(
        self, grid: Grid, plane: Plane, clock: ManualClock, rotated: Callable[[], Key]
    ) -> None:
        session = grid.submit(double, [1], retention=2 * DAY)
        rotated()
        completed(session, plane)
        clock.pass_(DAY)
        assert keys.prune(plane) == []
        assert list(session.results()) == [2]

    def test_not_while_somebody_may_sign_with_it(
        self, plane: Plane, clock: ManualClock, rotated: Callable[[], Key], store: FileKeys
    ) -> None:
        rotated()
        clock.pass_(DAY - 1)
        assert keys.prune(plane) == []
        clock.pass_(1)
        assert [stored.number for stored in keys.prune(plane)] == [1]
        assert [stored.number for stored in store.read().keys] == [2]

    def test_not_while_a_function_is_signed_with_it(
        self, grid: Grid, plane: Plane, clock: ManualClock, rotated: Callable[[], Key], tmp_path: Path
    ) -> None:
        """Deployed again it is a version of its own, but not within the first day."""
        (tmp_path / "app").mkdir()
        (tmp_path / "app" / "app.py").write_text("def handler(event, context):\n    return event\n")

        def deploy() -> int:
            return grid.deploy("app", tmp_path / "app", handler="app.handler").version

        assert (deploy(), deploy()) == (1, 1)
        rotated()
        assert deploy() == 1
        clock.pass_(DAY)
        assert (deploy(), deploy()) == (2, 2)
        assert keys.prune(plane) == []
        grid.gateway.remove_function("app", 1)
        assert [use.deployed for use in keys.uses(plane)] == [(), ("app:2",)]
        assert [use.blobs for use in keys.uses(plane)] == [1, 1]  # its package, until nobody has used it for a month

    def test_never_the_one_that_signs(self, plane: Plane, clock: ManualClock, rotated: Callable[[], Key]) -> None:
        clock.pass_(10 * DAY)
        assert keys.prune(plane, whatever_needs_them=True) == []
        signer = rotated()
        assert [stored.number for stored in keys.prune(plane, whatever_needs_them=True)] == [1]
        assert plane.keys.signer() == signer

    def test_at_once_if_others_may_have_it(
        self, grid: Grid, plane: Plane, clock: ManualClock, rotated: Callable[[], Key]
    ) -> None:
        """What it has signed is refused, by processes that run within a minute; its name is told."""
        session = grid.submit(double, [1])
        leaked = plane.keys.signer()
        agent = another_process(plane)
        rotated()
        second = rotated()
        assert [stored.number for stored in keys.prune(plane, whatever_needs_them=True)] == [1, 2]
        forged = seal(leaked, session.id, "events", b"forged")
        renamed = replace(leaked, is_first=False)
        named = seal(renamed, session.id, "events", b"forged")
        clock.pass_(limits.KEYS_KNOWN_SECONDS)
        for data in (forged, named):
            with pytest.raises(SignatureInvalid):
                unseal(agent.keys, session.id, "events", data)
        with pytest.raises(SignatureInvalid, match=f"key {renamed.id}, which this grid does not"):
            unseal(agent.keys, session.id, "events", named)
        assert agent.keys.signer() == second

    def test_the_first_key_of_sessions_that_are_not_there_any_more(
        self, grid: Grid, plane: Plane, rotated: Callable[[], Key]
    ) -> None:
        """An agent that is about to commit signs with the newest, which all know."""
        session = grid.submit(double, [1])
        signer = rotated()
        keys.prune(plane, whatever_needs_them=True)
        assert plane.keys.of_session(stored(session, plane).signing_key) == signer


class Scripted:
    """A key store that counts looks, and answers as it is told."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store
        self.looks = 0
        self.denied: AccessDenied | None = None
        self.error: Exception | None = None

    def read(self) -> StoredKeys:
        self.looks += 1
        if self.error is not None:
            raise self.error
        return replace(self._store.read(), denied=self.denied)

    def make(self, number: int) -> None:
        self._store.make(number)

    def drop(self, number: int) -> None:
        self._store.drop(number)


class TestKeyring:
    @pytest.fixture
    def scripted(self, store: FileKeys) -> Scripted:
        return Scripted(store)

    @pytest.fixture
    def keyring(self, scripted: Scripted, clock: ManualClock) -> Keyring:
        return Keyring(scripted, clock.monotonic)

    def test_an_id_that_there_is_not_costs_one_look_a_minute(
        self, keyring: Keyring, scripted: Scripted, clock: ManualClock
    ) -> None:
        """Whoever may write blobs may name what they like."""
        scripted.looks = 0
        assert [keyring.find("0badf00d") for _ in range(100)] == [None] * 100
        assert scripted.looks == 1
        clock.pass_(limits.KEYS_KNOWN_SECONDS)
        keyring.find("0badf00d")
        assert scripted.looks <= 3

    def test_ids_that_there_are_not_are_not_kept_for_ever(self, keyring: Keyring) -> None:
        for number in range(3000):
            keyring.find(f"{number:08x}")
        assert len(keyring._unknown) <= 256

    def test_what_is_known_does_while_the_others_cannot_be_read(
        self, keyring: Keyring, scripted: Scripted, clock: ManualClock
    ) -> None:
        signer = keyring.signer()
        scripted.error = GridUnavailable("SSM does not answer")
        clock.pass_(limits.KEYS_KNOWN_SECONDS)
        assert keyring.signer() == keyring.first() == signer

    @pytest.mark.parametrize("error", [GridUnavailable("no"), IncompatibleGrid("no secret")])
    def test_a_key_that_cannot_be_looked_for_is_the_grids_failure(
        self, keyring: Keyring, scripted: Scripted, error: Exception
    ) -> None:
        """Tasks are not charged with it: the bundle goes back."""
        scripted.error = error
        with pytest.raises(GridUnavailable):
            keyring.find("0badf00d")

    def test_a_key_that_may_not_be_read_is_said_so(self, keyring: Keyring, scripted: Scripted) -> None:
        scripted.denied = AccessDenied("ssm:GetParametersByPath")
        with pytest.raises(AccessDenied, match="GetParametersByPath"):
            keyring.find("0badf00d")
        assert keyring.first() is not None

    def test_who_may_not_read_all_keys_does_not_rotate(self, plane: Plane, scripted: Scripted) -> None:
        """It would not know which number is the next."""
        blind = replace(plane, keys=Keyring(scripted, plane.clock.monotonic))
        scripted.denied = AccessDenied("ssm:GetParametersByPath")
        for ask in (keys.rotate, keys.uses, keys.prune):
            with pytest.raises(AccessDenied):
                ask(blind)
        assert len(plane.keys.look().keys) == 1


class TestSignatures:
    def ring(self, store: FileKeys) -> tuple[Keyring, Key, Key]:
        store.read()
        store.make(2)
        ring = Keyring(store)
        first = ring.first()
        assert first is not None
        return ring, first, ring.signer()

    def test_name_their_key(self, store: FileKeys) -> None:
        ring, first, second = self.ring(store)
        sealed = seal(second, "s-1", "events", b"body")
        assert named_key(sealed) == second.id
        assert named_key(seal(first, "s-1", "events", b"body")) == ""
        assert unseal(ring, "s-1", "events", sealed) == b"body"

    def test_of_the_first_key_that_look_like_a_name(self, store: FileKeys, monkeypatch: pytest.MonkeyPatch) -> None:
        """One in four billion begins like that, whatever key it then seems to name."""
        ring, first, second = self.ring(store)
        for begin in (b"HGK1" + bytes.fromhex(second.id), b"HGK1none"):
            monkeypatch.setattr(Key, "_ended", lambda *_, begin=begin: begin.ljust(32, b"x"))
            assert unseal(ring, "s-1", "events", seal(first, "s-1", "events", b"body")) == b"body"

    def test_any_bit_flipped(self, store: FileKeys) -> None:
        ring, _, second = self.ring(store)
        sealed = seal(second, "s-1", "events", b"body")
        for bit in range(8 * len(sealed)):
            damaged = bytearray(sealed)
            damaged[bit // 8] ^= 1 << bit % 8
            with pytest.raises(SignatureInvalid):
                unseal(ring, "s-1", "events", bytes(damaged))

    def test_another_keys_name_on_them_is_no_use(self, store: FileKeys) -> None:
        ring, _, second = self.ring(store)
        forged = seal(Key(b"w" * 32, is_first=False), "s-1", "events", b"body")
        renamed = b"HGK1" + bytes.fromhex(second.id) + forged[8:]
        with pytest.raises(SignatureInvalid, match="another key or changed"):
            unseal(ring, "s-1", "events", renamed)

    def test_a_worker_of_the_release_before_finds_the_callable_where_it_was(self, store: FileKeys) -> None:
        """Behind 32 bytes."""
        _, _, second = self.ring(store)
        assert pickle.loads(seal(second, "", FUNCTION_PURPOSE, pickle.dumps(len))[SIGNATURE_BYTES:]) is len

    def test_of_a_function_are_verified_before_a_worker_sees_it(
        self, grid: Grid, plane: Plane, rotated: Callable[[], Key]
    ) -> None:
        rotated()
        verifier = BlobVerifier(another_process(plane))
        assert verifier.function(grid.submit(double, [1]).spec)
