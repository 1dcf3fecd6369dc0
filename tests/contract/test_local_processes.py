"""The local adapters between processes, some of which die."""

from __future__ import annotations

import multiprocessing
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from htcgrid_core.adapters.local.doorbell import FifoDoorbell
from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.adapters.local.sqlite.store import SqliteStore
from htcgrid_core.ports.doorbell import COMMITS, WORK
from htcgrid_core.testing.contracts import given
from htcgrid_core.testing.contracts.facts import assert_counters_exact, eventually, everything
from htcgrid_core.testing.contracts.given import NOW, SESSION
from tests.contract import local_clients

SPAWN = multiprocessing.get_context("spawn")
CLIENTS = 3


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "grid.db"


class TestStore:
    def test_each_bundle_has_one_winner_among_processes(self, path: Path) -> None:
        bundles = 60
        store = SqliteStore(Database(path))
        given.running(store, [2] * bundles)
        start, won = SPAWN.Barrier(CLIENTS), SPAWN.Queue()
        clients = [
            SPAWN.Process(target=local_clients.claim_and_commit, args=(str(path), client, bundles, start, won))
            for client in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        numbers = [number for _ in clients for number in won.get(timeout=60)]
        for client in clients:
            client.join()
        assert sorted(numbers) == list(range(bundles))
        assert store.session(SESSION, NOW).counters.completed == 2 * bundles
        assert_counters_exact(store)

    def test_a_new_grid_is_made_once(self, path: Path) -> None:
        start, done = SPAWN.Barrier(CLIENTS), SPAWN.Queue()
        clients = [
            SPAWN.Process(target=local_clients.open_at_once, args=(str(path), start, done)) for _ in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        assert [done.get(timeout=60) for _ in clients] == [""] * CLIENTS
        for client in clients:
            client.join()
        given.running(SqliteStore(Database(path)))

    def test_killed_in_the_middle_of_a_write(self, path: Path) -> None:
        """Its lock goes with it, and so does what it had begun."""
        store = SqliteStore(Database(path))
        given.running(store)
        before = everything(store)
        written, never = SPAWN.Event(), SPAWN.Event()
        client = SPAWN.Process(target=local_clients.begin_and_hang, args=(str(path), written, never))
        client.start()
        assert written.wait(60)
        client.kill()
        client.join()
        assert everything(store) == before
        store.commit(given.commit(given.claimed(store, "00000000"), [0, 1]))
        assert_counters_exact(store)


class TestDoorbell:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return tmp_path / "bells"

    @pytest.fixture
    def doorbell(self, folder: Path) -> FifoDoorbell:
        return FifoDoorbell(folder)

    @pytest.fixture
    def listener(self, folder: Path) -> Iterator[tuple[multiprocessing.process.BaseProcess, object]]:
        listening, heard = SPAWN.Event(), SPAWN.Event()
        process = SPAWN.Process(target=local_clients.listen, args=(str(folder), listening, heard))
        process.start()
        try:
            assert listening.wait(60)
            yield process, heard
        finally:
            process.kill()
            process.join()

    def test_wakes_another_process(
        self, doorbell: FifoDoorbell, folder: Path, listener: tuple[multiprocessing.process.BaseProcess, object]
    ) -> None:
        process, _ = listener
        doorbell.ring(WORK)
        process.join(60)
        assert process.exitcode == 0
        assert list((folder / WORK).iterdir()) == []

    def test_a_killed_listener_is_cleaned_up(
        self, doorbell: FifoDoorbell, folder: Path, listener: tuple[multiprocessing.process.BaseProcess, object]
    ) -> None:
        process, _ = listener
        mine = doorbell.listen(WORK)
        try:
            process.kill()
            process.join()
            assert len(list((folder / WORK).iterdir())) == 2
            doorbell.ring(WORK)
            assert len(list((folder / WORK).iterdir())) == 1
            assert mine.wait(10)
        finally:
            mine.close()

    def test_who_is_about_to_listen_is_not_cleaned_up(self, doorbell: FifoDoorbell, folder: Path) -> None:
        """A pipe that its living process has made and not opened yet."""
        (folder / WORK).mkdir(parents=True)
        pipe = folder / WORK / f"{os.getpid()}-00000000"
        os.mkfifo(pipe)
        doorbell.ring(WORK)
        assert pipe.exists()

    def test_a_listener_that_leaves_while_it_is_rung(
        self, doorbell: FifoDoorbell, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between the opening of its pipe and the ring."""
        bell = doorbell.listen(WORK)
        real_write = os.write
        left = []

        def leave_then_write(fd: int, data: bytes) -> int:
            bell.close()
            left.append(fd)
            return real_write(fd, data)

        monkeypatch.setattr(os, "write", leave_then_write)
        doorbell.ring(WORK)
        assert len(left) == 1

    def test_a_ring_never_fails_for_want_of_descriptors(self, doorbell: FifoDoorbell) -> None:
        """A commit that was written must not fail because of its ring."""
        bell = doorbell.listen(WORK, COMMITS)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
            doorbell.ring(WORK, COMMITS)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        try:
            assert not bell.wait(0)
            doorbell.ring(WORK)
            assert eventually(lambda: bell.wait(0.1), bool)
        finally:
            bell.close()

    def test_folders_are_their_owners_only(self, doorbell: FifoDoorbell, folder: Path) -> None:
        bell = doorbell.listen(WORK)
        try:
            (pipe,) = (folder / WORK).iterdir()
            assert (folder / WORK).stat().st_mode & 0o777 == 0o700
            assert pipe.stat().st_mode & 0o777 == 0o600
        finally:
            bell.close()
