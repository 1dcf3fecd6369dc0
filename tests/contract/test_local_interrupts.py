"""What is raised in the middle of a call of the local store, and a fork there, leave nothing half done."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import signal
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

import pytest

from htcgrid_core.adapters import locked
from htcgrid_core.adapters.local.sqlite import (
    agents,
    connection,
    database,
    ending,
    forks,
    leasing,
    migrations,
    queries,
    queue,
    rows,
    statements,
    submitting,
)
from htcgrid_core.adapters.local.sqlite import store as store_module
from htcgrid_core.adapters.local.sqlite.database import Database
from htcgrid_core.adapters.local.sqlite.queue import TableQueue
from htcgrid_core.adapters.local.sqlite.store import SqliteStore
from htcgrid_core.domain.errors import GridError, LeaseLost
from htcgrid_core.domain.lifecycle import SessionEvent
from htcgrid_core.ports.session_store import AgentRecord, Commit
from htcgrid_core.testing.contracts import given
from htcgrid_core.testing.contracts.facts import assert_counters_exact, everything
from htcgrid_core.testing.contracts.given import NOW, SESSION
from tests.interrupts import Interrupt, interrupted_at

MODULES = (
    agents, connection, database, ending, forks, leasing, locked, migrations, queries, queue, rows, statements,
    store_module, submitting,
)  # fmt: skip
OURS = str(Path(connection.__file__).parent)
SIGNALS = 300


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A new database's file."""
    return tmp_path / "grid.db"


@pytest.fixture
def store(path: Path) -> SqliteStore:
    """A session of three bundles, and one of them leased."""
    store = SqliteStore(Database(path))
    given.running(store, [2, 2, 2], tolerated=6)
    given.claimed(store, "00000001")
    return store


OPENED: list[Database] = []  # so that they are not closed where nobody is to be interrupted

CALLS: dict[str, Callable[[SqliteStore], object]] = {
    "create": lambda store: store.create_session(given.record("s-other")),
    "claim": lambda store: given.claim(store, "00000000"),
    "claim again": lambda store: given.claim(store, "00000000", "token-2", owner="agent-2"),
    "commit": lambda store: store.commit(Commit(SESSION, "00000001", "token-1", NOW, given.page([2, 3]), 2, 0)),
    "lose": lambda store: _lose(store),
    "advance": lambda store: store.advance(SESSION, SessionEvent.CANCEL, now=NOW, actor="tester"),
    "expire": lambda store: store.expire(NOW, 10),
    "beat": lambda store: store.beat(AgentRecord("a", "default", "here", 1, 1, 0, NOW, "")),
    "open": lambda store: OPENED.append(Database(store._database.path)),
    "open again": lambda store: _open_again(store),
    "read": lambda store: store.session(SESSION, NOW),
    "receive": lambda store: TableQueue(store._database).receive("default", 8, NOW),
}


def _open_again(store: SqliteStore) -> None:
    store._database.close()
    store.session(SESSION, NOW)


def _lose(store: SqliteStore) -> None:
    """A transaction that is taken back."""
    with pytest.raises(LeaseLost):
        store.commit(Commit(SESSION, "00000001", "another's", NOW, given.page([2, 3]), 2, 0))


def assert_usable(store: SqliteStore, path: Path) -> None:
    """No transaction is open, others can write, and nobody holds the connection."""
    assert not store._database.connection().in_transaction
    other = sqlite3.connect(path, timeout=0, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("ROLLBACK")
    other.close()
    others: list[object] = []

    def use() -> None:  # which a lock that is still held would keep waiting
        others.append(store.session(SESSION, NOW))
        store._database.close()

    thread = threading.Thread(target=use, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert others
    assert store.session(SESSION, NOW).session_id == SESSION


@pytest.mark.parametrize("call", CALLS)
def test_at_whatever_line_an_exception_comes(store: SqliteStore, path: Path, call: str) -> None:
    """Nothing of it stays, and the call can be made again."""
    line = 0
    while True:
        line += 1
        with interrupted_at(line, *MODULES) as seen, contextlib.suppress(Interrupt):
            CALLS[call](store)
        OPENED.clear()
        assert_usable(store, path)
        if seen[0] < line:
            break
    assert line > 8
    assert_counters_exact(store)


def test_ctrl_c_at_any_moment(store: SqliteStore, path: Path) -> None:
    """Signals that come at random, also while what an earlier one left is put right."""
    rng = random.Random(7)
    hits, is_looking = 0, False

    def interrupt(signum: int, frame: FrameType | None) -> None:
        nonlocal is_looking
        if is_looking:  # the next signal came before this was seen to: on a slow machine they would come without end
            return
        is_looking = True
        try:
            while frame is not None:
                if frame.f_code.co_filename.startswith(OURS):
                    raise KeyboardInterrupt
                frame = frame.f_back
        finally:
            is_looking = False

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(SIGNALS):
            signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-6, 3e-4), 5e-5)
            for name in ("read", "beat", "claim", "advance", "create"):
                try:
                    CALLS[name](store)
                except KeyboardInterrupt:
                    hits += 1
                except GridError:
                    pass
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert not store._database.connection().in_transaction
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert hits
    assert_usable(store, path)
    assert_counters_exact(store)


def test_a_signal_handler_may_read_but_not_write_in_the_middle_of_a_write(store: SqliteStore, path: Path) -> None:
    """Its failure takes nothing of the write back."""

    def work(db: sqlite3.Connection) -> None:
        db.execute("UPDATE sessions SET completed = 1")
        assert store.session(SESSION, NOW).counters.completed == 1
        with pytest.raises(GridError, match="another write"):
            store.beat(AgentRecord("a", "default", "here", 1, 1, 0, NOW, ""))

    store._database.write(work)
    assert store.session(SESSION, NOW).counters.completed == 1
    assert_usable(store, path)


def open_files(path: Path) -> int:
    """Descriptors of this process on a database's files."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found += os.readlink(f"/proc/self/fd/{name}").startswith(str(path))
    return found


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="descriptors are looked up in /proc")


class TestForks:
    def child(self, work: Callable[[], bool]) -> bool:
        """What a forked child finds; False if it hangs."""
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                signal.alarm(60)
                code = 0 if work() else 2
            finally:
                os._exit(code)
        return os.waitpid(pid, 0)[1] == 0

    def test_none_happens_while_a_thread_is_in_a_call(self, store: SqliteStore) -> None:
        inside, over = threading.Event(), threading.Event()
        rows: list[int] = []

        def work(db: sqlite3.Connection) -> None:
            inside.set()
            assert over.wait(60)
            rows.append(db.execute("UPDATE sessions SET name = 'written'").rowcount)

        thread = threading.Thread(target=store._database.write, args=(work,))
        thread.start()
        assert inside.wait(60)
        threading.Timer(0.2, over.set).start()
        assert self.child(lambda: rows == [1] and store.session(SESSION, NOW).name == "written")
        thread.join(60)
        assert store.session(SESSION, NOW).name == "written"

    @needs_proc
    def test_no_connection_is_carried_across_one(self, store: SqliteStore, path: Path) -> None:
        """With what it believes to have locked; both processes open new ones."""
        go_on = threading.Event()
        ready = threading.Barrier(3)

        def read() -> None:
            store.session(SESSION, NOW)
            ready.wait(60)
            assert go_on.wait(60)

        threads = [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        ready.wait(60)
        assert open_files(path) > 0
        assert self.child(lambda: open_files(path) == 0)
        before = everything(store)
        assert self.child(lambda: everything(store) == before and bool(given.claimed(store, "00000000")))
        given.claimed(store, "00000002")
        go_on.set()
        for thread in threads:
            thread.join(60)
        assert_counters_exact(store)

    def test_forks_in_the_midst_of_many_calls(self, store: SqliteStore) -> None:
        """Each child can read and write; none hangs, nothing is lost."""
        over = threading.Event()

        def beat(number: int) -> None:
            while not over.is_set():
                store.beat(AgentRecord(f"a-{number}", "default", "here", 1, 1, 0, NOW, ""))
                store.agents(NOW)

        def create(number: int) -> bool:
            return store.create_session(given.record(f"s-{number}")).session_id == f"s-{number}"

        threads = [threading.Thread(target=beat, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        try:
            with ThreadPoolExecutor(2) as pool:  # they may fork at the same time, too
                assert all(pool.map(lambda number: self.child(lambda: create(number)), range(10)))
        finally:
            over.set()
            for thread in threads:
                thread.join(60)
        assert len(store.sessions(NOW)) == 11


@needs_proc
class TestDescriptors:
    def test_close_is_for_all_threads(self, store: SqliteStore, path: Path) -> None:
        """Which may go on afterwards."""
        closed, read = threading.Event(), threading.Event()

        def use() -> None:
            store.session(SESSION, NOW)
            read.set()
            assert closed.wait(60)
            store.session(SESSION, NOW)

        thread = threading.Thread(target=use)
        thread.start()
        assert read.wait(60)
        store._database.close()
        assert open_files(path) == 0
        closed.set()
        thread.join(60)
        assert open_files(path) == 0  # a thread's connection is closed with it
        assert store.session(SESSION, NOW)

    def test_an_unclosed_one_gives_them_back(self, path: Path) -> None:
        store = SqliteStore(Database(path))
        given.running(store)
        assert open_files(path) > 0
        del store
        gc.collect()
        assert open_files(path) == 0
