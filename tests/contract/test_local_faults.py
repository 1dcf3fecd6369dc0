"""What the local adapters do when the disk or its files are not as they should be."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from htcgrid_core.adapters.local.blobs import FileBlobs
from htcgrid_core.adapters.local.sqlite import connection as connection_module
from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.adapters.local.sqlite.queue import TableQueue
from htcgrid_core.adapters.local.sqlite.schema import SCHEMA_VERSION
from htcgrid_core.adapters.local.sqlite.store import SqliteStore
from htcgrid_core.codecs.outcomes import Outcomes
from htcgrid_core.disk.cache import DiskCache
from htcgrid_core.domain import limits
from htcgrid_core.domain.bundle import root_id
from htcgrid_core.domain.errors import CorruptPayload, GridUnavailable, IncompatibleGrid, SessionNotFound
from htcgrid_core.domain.lifecycle import SessionEvent
from htcgrid_core.domain.payload import Payload
from htcgrid_core.domain.session import Codec
from htcgrid_core.local.directory import Directory, open_plane
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.ports.session_store import Commit
from htcgrid_core.services.commit import commit as services_commit
from htcgrid_core.services.submit import submit
from htcgrid_core.testing.contracts import given
from htcgrid_core.testing.contracts.facts import assert_counters_exact, everything
from htcgrid_core.testing.contracts.given import NOW, SESSION
from tests.manual_agent import take
from tests.planes import spec


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "grid.db"


class TestFormat:
    @pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, SCHEMA_VERSION + 100])
    def test_a_newer_schema_is_left_alone(self, path: Path, version: int) -> None:
        store = SqliteStore(Database(path))
        given.running(store)
        before = everything(store)
        store._database.close()
        with sqlite3.connect(path) as db:
            db.execute(f"PRAGMA user_version = {version}")
        with pytest.raises(IncompatibleGrid, match=rf"{path}.* {version}\b.* {SCHEMA_VERSION}\b"):
            Database(path)
        with sqlite3.connect(path) as db:
            assert db.execute("PRAGMA user_version").fetchone() == (version,)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        assert everything(SqliteStore(Database(path))) == before

    @pytest.mark.parametrize("content", [b"not a database, but long enough to be one" * 100, b"\0" * 5000])
    def test_a_file_that_is_no_database(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        with pytest.raises(IncompatibleGrid, match=str(path)):
            Database(path)
        assert path.read_bytes() == content

    @pytest.mark.parametrize("keep", ["header", "half"])
    def test_a_damaged_database_is_never_a_raw_error(self, path: Path, keep: str) -> None:
        """Reading what is left of it says so; nothing is made up."""
        store = SqliteStore(Database(path))
        given.running(store, [5] * 100)
        store._database.close()
        data = path.read_bytes()
        assert len(data) > 8 * 4096
        if keep == "half":
            path.write_bytes(data[: len(data) // 2])
        else:
            path.write_bytes(data[:4096] + b"\xa5" * (len(data) - 4096))
        with pytest.raises((IncompatibleGrid, GridUnavailable)):
            everything(SqliteStore(Database(path)))

    def test_the_audit_can_only_be_appended_to(self, path: Path) -> None:
        store = SqliteStore(Database(path))
        given.running(store)
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            store._database.write(lambda db: db.execute("UPDATE audit SET actor = 'somebody else'"))
        assert {entry.actor for entry in store.history(SESSION)} == {"client"}


class TestPlaces:
    def test_a_file_in_the_place_of_the_directory(self, tmp_path: Path) -> None:
        (tmp_path / "grid").write_text("in the way")
        with pytest.raises(GridUnavailable, match="grid"):
            open_plane(Directory(tmp_path / "grid"))

    @pytest.fixture
    def anybodys(self) -> Iterator[Path]:
        """A folder that other users can reach, unlike pytest's."""
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            yield Path(folder)

    @pytest.mark.parametrize("existing", [False, True])
    def test_a_directory_that_is_read_only(self, anybodys: Path, existing: bool) -> None:
        """As somebody who may not write there: an empty one, and one with a grid."""
        root = anybodys / "grid"
        root.mkdir()
        if existing:
            plane = open_plane(Directory(root))
            given.running(SqliteStore(Database(Directory(root).database)))
            assert plane.store.session(SESSION, NOW)
            for folder, _, names in os.walk(root):
                for name in [folder, *(os.path.join(folder, name) for name in names)]:
                    os.chmod(name, 0o755 if os.path.isdir(name) else 0o444)
        root.chmod(0o555)
        script = """
            import os
            import sys
            from pathlib import Path
            from htcgrid_core.local.directory import Directory, open_plane
            from htcgrid_core.domain.errors import GridUnavailable
            if os.geteuid() == 0:  # whom no permission stops
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            try:
                open_plane(Directory(Path(sys.argv[1])))
            except GridUnavailable as error:
                print(error)
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), str(root)],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert "directory cannot be used" in done.stdout
        assert str(root) in done.stdout

    def test_the_database_alone_is_read_only(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Told as GridUnavailable, by every write."""
        store = SqliteStore(Database(path))
        given.running(store)
        store._database.connection().execute("PRAGMA query_only = ON")
        with pytest.raises(GridUnavailable):
            store.create_session(given.record("s-other"))
        with pytest.raises(GridUnavailable):
            given.claim(store, "00000000")
        store._database.connection().execute("PRAGMA query_only = OFF")
        given.claimed(store, "00000000")

    def test_somebody_keeps_it_locked(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Waited for, then told; nothing half done."""
        monkeypatch.setattr(connection_module, "BUSY_SECONDS", 0.05)
        store = SqliteStore(Database(path))
        given.running(store)
        before = everything(store)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(GridUnavailable, match="locked"):
            given.claim(store, "00000000")
        assert everything(store) == before  # readers do not wait for writers
        other.execute("ROLLBACK")
        other.close()
        given.claimed(store, "00000000")


class TestFullDisk:
    @pytest.fixture
    def store(self, path: Path) -> SqliteStore:
        store = SqliteStore(Database(path))
        given.running(store, [4, 2], tolerated=5)
        return store

    @pytest.fixture
    def full(self, store: SqliteStore) -> Iterator[None]:
        """No page more than there are."""
        connection = store._database.connection()
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        yield
        connection.execute("PRAGMA max_page_count = 1000000")

    def _fails(self, store: SqliteStore, write: Commit) -> None:
        with pytest.raises(GridUnavailable, match="full"):
            store.commit(write)

    def test_a_commit_is_all_or_nothing(self, store: SqliteStore) -> None:
        held = given.claimed(store, "00000000")
        children = [given.child(held, number, [2, 3]) for number in range(1)]
        payload = Payload.inline(os.urandom(300_000))
        write = Commit(SESSION, "00000000", "token-1", NOW, payload, 2, 0, tuple(children))
        before = everything(store)
        connection = store._database.connection()
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        for free in range(0, 60, 3):  # it runs out a little later each time, at another statement
            connection.execute(f"PRAGMA max_page_count = {pages + free}")
            self._fails(store, write)
            assert everything(store) == before
        connection.execute("PRAGMA max_page_count = 1000000")
        assert store.commit(write).counters.completed == 2
        assert_counters_exact(store)

    def test_roots_are_all_or_nothing(self, path: Path) -> None:
        store = SqliteStore(Database(path))
        store.create_session(given.record())
        pairs = given.roots([200] * 40)
        connection = store._database.connection()
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        before = everything(store)
        failures = 0
        free = 0
        while True:
            connection.execute(f"PRAGMA max_page_count = {pages + free}")
            try:
                store.put_bundles(SESSION, pairs, NOW)
                break
            except GridUnavailable:
                failures += 1
                free += 2
                assert everything(store) == before
        assert failures > 5
        assert store.session(SESSION, NOW).counters.total == 8000
        assert_counters_exact(store)

    def test_a_session_that_cannot_be_written_is_not_there(self, path: Path) -> None:
        store = SqliteStore(Database(path))
        connection = store._database.connection()
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(GridUnavailable):
            store.create_whole(given.record(), given.roots([250] * 20), digest="", tolerated=None)
        with pytest.raises(SessionNotFound):
            store.session(SESSION, NOW)
        assert store.history(SESSION) == []
        assert list(TableQueue(store._database).receive("default", 8, NOW).messages) == []

    def test_a_write_that_fails_at_its_very_end(self, path: Path) -> None:
        """The disk refuses the log's last bytes: rolled back, and the same connection goes on when there is room."""
        store = SqliteStore(Database(path))
        given.running(store)
        script = f"""
            import resource, sys
            from pathlib import Path
            from htcgrid_core.adapters.local.sqlite.database import Database
            from htcgrid_core.adapters.local.sqlite.store import SqliteStore
            from htcgrid_core.domain.errors import GridUnavailable
            from htcgrid_core.domain.payload import Payload
            from htcgrid_core.ports.session_store import Commit
            from htcgrid_core.testing.contracts import given
            store = SqliteStore(Database({str(path)!r}))
            held = given.claimed(store, "00000000")
            write = Commit({SESSION!r}, "00000000", "token-1", given.NOW, Payload.inline(bytes(20000)), 2, 0)
            used = Path({str(path)!r} + "-wal").stat().st_size
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            failed = 0
            for free in (0, 1, 4096, 9000, 20000):
                resource.setrlimit(resource.RLIMIT_FSIZE, (used + free, hard))
                try:
                    store.commit(write)
                except GridUnavailable:
                    failed += 1
                resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
                assert store.session({SESSION!r}, given.NOW).counters.completed == 0
                assert store.outcome_pages({SESSION!r}, 0, 9) == []
            assert failed == 5, failed
            assert store.commit(write).counters.completed == 2
        """
        subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=60)
        assert store.session(SESSION, NOW).counters.completed == 2
        assert_counters_exact(store)

    def test_ends_and_reads_on_a_full_disk(self, store: SqliteStore, full: None) -> None:
        """What needs no room still works: a session can be watched and ended."""
        assert store.session(SESSION, NOW).counters.total == 6
        row = store.advance(SESSION, SessionEvent.FAIL, now=NOW, actor="tester", reason="the disk is full")
        assert row.counters.cancelled == 6


class TestPowerFailure:
    @pytest.fixture
    def synced(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """What was made to reach the disk, in order."""
        seen: list[str] = []

        def watch(name: str) -> None:
            real = getattr(os, name)

            def spy(fd: int) -> None:
                seen.append(os.readlink(f"/proc/self/fd/{fd}"))
                real(fd)

            monkeypatch.setattr(os, name, spy)

        watch("fdatasync")
        watch("fsync")
        return seen

    @pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are looked up in /proc")
    def test_sync_reaches_the_log(self, path: Path, synced: list[str]) -> None:
        store = SqliteStore(Database(path))
        given.running(store)
        assert synced == []
        store.sync()
        assert synced == [f"{path}-wal"]

    def test_sync_with_nothing_to_sync(self, path: Path) -> None:
        """The last connection that was closed has moved the log into the database."""
        store = SqliteStore(Database(path))
        given.running(store)
        store._database.close()
        assert not Path(f"{path}-wal").exists()
        store.sync()

    def test_a_disk_that_fails_to_sync(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        store = SqliteStore(Database(path))
        given.running(store)

        def fail(fd: int) -> None:
            raise OSError(errno.EIO, "no such luck")

        monkeypatch.setattr(os, "fdatasync", fail)
        with pytest.raises(GridUnavailable, match="disk"):
            store.sync()

    @pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are looked up in /proc")
    def test_a_blob_and_its_name_reach_the_disk(self, tmp_path: Path, synced: list[str]) -> None:
        blobs = FileBlobs(tmp_path / "blobs", DiskCache(tmp_path / "unpacked", 1 << 30))
        blobs.put("sessions/s-1/events/0", b"data")
        file, *folders = synced
        assert Path(file).parent == tmp_path / "blobs/sessions/s-1/events"
        assert folders == [
            str(tmp_path / "blobs" / folder) for folder in ("sessions/s-1/events", "sessions/s-1", "sessions", "")
        ]

    @pytest.mark.parametrize("codec", ["json", "pickle"])
    def test_what_a_row_refers_to_is_on_the_disk_before_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: Codec
    ) -> None:
        """Of large events, stored in threads, and of a large result: a row is durable when the kernel likes."""
        plane = open_plane(Directory(tmp_path / "grid"))
        synced, checked, real = set[int](), list[str](), os.fsync

        def fsync(fd: int) -> None:
            real(fd)
            synced.add(os.fstat(fd).st_ino)

        def check(payloads: Iterable[Payload | None]) -> bool:
            for payload in payloads:
                assert payload is not None
                assert payload.key is not None
                file = plane.blobs.path(payload.key)
                assert {file.stat().st_ino, file.parent.stat().st_ino} <= synced, payload.key
                checked.append(payload.key)
            return True

        put_bundles, commit = plane.store.put_bundles, plane.store.commit
        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(
            plane.store,
            "put_bundles",
            lambda *said: check(block.payload for _, block in said[1]) and put_bundles(*said),
        )
        monkeypatch.setattr(plane.store, "commit", lambda write: check([write.outcomes]) and commit(write))
        large = b"1" * (limits.INLINE_PAYLOAD_BYTES + 1)
        asked = spec(codec=codec, agents=1)
        submit(plane, "s-power", asked, [large] * 4, total=4, idempotent=False)
        assert len(checked) == 4
        work = take(plane, Hint("s-power", root_id(0)))
        assert work is not None
        outcomes = Outcomes()
        outcomes.add(0, False, 1, NOW, 1.0, large)
        services_commit(plane, work, outcomes, (), None)
        assert len(checked) == 5


class TestBlobFaults:
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> FileBlobs:
        return FileBlobs(tmp_path / "blobs", DiskCache(tmp_path / "unpacked", 1 << 30))

    def test_a_writer_that_died_left_nothing_under_the_key(self, blobs: FileBlobs, tmp_path: Path) -> None:
        """Half a blob beside its name is no blob, and in nobody's way."""
        folder = tmp_path / "blobs/sessions/s-1/events"
        folder.mkdir(parents=True)
        (folder / ".0123456789abcdef").write_bytes(b"hal")
        with pytest.raises(CorruptPayload):
            blobs.get("sessions/s-1/events/0")
        blobs.put("sessions/s-1/events/0", b"whole")
        assert blobs.get("sessions/s-1/events/0") == b"whole"
        blobs.delete_prefix("sessions/s-1/")
        assert not folder.exists()

    def test_no_room(self, blobs: FileBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
        """GridUnavailable, and nothing left behind."""

        def fail(fd: int) -> None:
            raise OSError(errno.ENOSPC, "no space left")

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(GridUnavailable, match="no space left"):
            blobs.put("functions/f", b"data")
        assert not blobs.exists("functions/f")
        assert list(blobs.path("functions/f").parent.iterdir()) == []

    def test_a_folder_in_the_place_of_a_blob(self, blobs: FileBlobs) -> None:
        blobs.put("sessions/s-1/events/0", b"data")
        with pytest.raises(CorruptPayload):
            blobs.get("sessions/s-1/events")
        with pytest.raises(CorruptPayload):
            blobs.get("sessions/s-1/events/0/below")
