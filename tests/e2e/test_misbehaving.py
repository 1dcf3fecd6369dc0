"""Handlers that fail in every way we know of: each fails alone, says why, and leaves a working grid behind."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Grid, RetryPolicy, Session, SessionFailed, TaskFailed, TaskOutcome, connect
from tests.e2e import handlers
from tests.e2e.support import ended, eventually, fresh_grid, is_alive

TASKS, BAD = 12, 5  # one bundle; task 5 misbehaves
BUT_BAD = [n for n in range(TASKS) if n != BAD]

BY: dict[str, str | Callable[..., Any]] = {"name": "tests.e2e.handlers.misbehave", "callable": handlers.misbehave}


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    """One grid for all of them: it has to stand it."""
    with fresh_grid(tmp_path_factory.mktemp("grid")) as url, connect(url) as connected:
        yield connected


@dataclass(frozen=True)
class Expected:
    """What a user is told: error type, and patterns found in message and traceback."""

    type: str
    message: str
    traceback: str = ""
    options: tuple[tuple[str, Any], ...] = ()


TIMEOUT = (("task_timeout", 0.4),)
EXPECTED = {
    "raise": Expected("ValueError", r"^no price for desk 7$", r"handlers\.py.*in _raise\n.*raise ValueError"),
    "raise_much": Expected("ValueError", r"^x{1000,20000}$", r"characters left out"),
    "raise_awkward": Expected("Awkward", r"its text raises RuntimeError", r"in _raise_awkward"),
    "raise_unsendable": Expected("Unsendable", r"^holds a lock$", r"in _raise_unsendable"),
    "raise_unreadable": Expected("Unreadable", r"^7: two arguments$", r"in _raise_unreadable"),
    "interrupt": Expected("KeyboardInterrupt", r"", r"in _interrupt"),
    "exit": Expected("SystemExit", r"sys\.exit\(3\)", r"in _exit"),
    "exit_hard": Expected("WorkerCrashed", r"exited with code 7"),
    "segfault": Expected("WorkerCrashed", r"SIGSEGV", r"Segmentation fault(.|\n)*in _segfault"),
    "abort": Expected("WorkerCrashed", r"SIGABRT", r"in _abort"),
    "kill_self": Expected("WorkerCrashed", r"SIGKILL \(out of memory\?\)"),
    "stop_self": Expected("TaskTimeout", r"timed out after 0\.4 seconds", options=TIMEOUT),
    "loop": Expected("TaskTimeout", r"timed out after 0\.4 seconds", options=TIMEOUT),
    "loop_stubbornly": Expected("TaskTimeout", r"timed out after 0\.4 seconds", options=TIMEOUT),
    "loop_with_children": Expected("TaskTimeout", r"timed out after 0\.4 seconds", options=TIMEOUT),
    "recurse": Expected("RecursionError", r"maximum recursion depth", r"in _recurse"),
    "allocate": Expected("MemoryError", r"", r"in _allocate", options=(("memory_mb", 128),)),
    "return_lock": Expected("InvalidResult", r"returned a lock that cannot be encoded"),
    "return_endless": Expected("InvalidResult", r"returned a list that cannot be encoded: .*recursion"),
    "return_too_much": Expected("InvalidResult", r"bytes, over 67,108,864"),
    "close_descriptors": Expected("WorkerCrashed", r"exited with code 1", r"Bad file descriptor"),
}


def events(how: str, **more: object) -> list[handlers.Event]:
    """One bundle's events, of which one misbehaves."""
    return [{"n": n, "how": how, **more} if n == BAD else {"n": n} for n in range(TASKS)]


def submitted(grid: Grid, function: Any, vector: list[handlers.Event], attempts: int = 1, **options: Any) -> Session:
    """A session of one bundle."""
    retry = RetryPolicy(max_attempts=attempts, backoff_base_seconds=0)
    return grid.submit(function, vector, bundle_size=TASKS, retry=retry, **options)


def only_failed(session: Session) -> TaskOutcome:
    """The one task that failed, once every other has completed."""
    progress = ended(session)
    assert (progress.state, progress.completed, progress.failed) == ("FAILED", TASKS - 1, 1)
    assert [task.index for task in session.tasks(state="FAILED")] == [BAD]
    results = list(session.results(errors="return"))
    failure = results.pop(BAD)
    assert results == BUT_BAD
    assert isinstance(failure, TaskFailed)
    assert failure.index == BAD
    return next(session.tasks(state="FAILED"))


def assert_serves(grid: Grid) -> None:
    """The next session finds workers."""
    session = grid.submit("tests.e2e.handlers.double", range(8))
    ended(session)
    assert list(session.results()) == [2 * n for n in range(8)]


def test_every_misbehaviour_has_its_expectation() -> None:
    assert set(EXPECTED) == set(handlers.MISBEHAVIOURS)


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("how", EXPECTED)
def test_a_bad_task_fails_alone_and_says_why(grid: Grid, how: str, by: str) -> None:
    expected = EXPECTED[how]
    session = submitted(grid, BY[by], events(how), **dict(expected.options))
    task = only_failed(session)
    assert task.error is not None
    assert task.error.type == expected.type
    assert re.search(expected.message, task.error.message)
    assert re.search(expected.traceback, task.error.traceback)
    assert len(task.error.message) + len(task.error.traceback) < 64_000
    assert task.attempts == 1
    assert_serves(grid)


def _close_all(_: int) -> None:
    os.closerange(3, 4096)


def _replace_all(_: int) -> None:
    with open(os.devnull, "rb") as null:
        for descriptor in map(int, os.listdir("/dev/fd")):
            if descriptor > 2 and descriptor != null.fileno():
                os.dup2(null.fileno(), descriptor)


def _replace_sockets_by_a_live_one(_: int) -> None:
    """So that what the worker writes goes through, to nobody."""
    ends = [end.detach() for end in socket.socketpair()]
    for descriptor in map(int, os.listdir("/dev/fd")):
        with contextlib.suppress(OSError):
            if descriptor not in ends and stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                os.dup2(ends[0], descriptor)


@pytest.mark.parametrize("break_connection", [_close_all, _replace_all, _replace_sockets_by_a_live_one])
def test_a_silent_last_task_that_breaks_its_workers_connection_is_charged(
    grid: Grid, break_connection: Callable[[int], None]
) -> None:
    session = grid.submit(break_connection, [0], retry=RetryPolicy(max_attempts=2, backoff_base_seconds=0))
    ended(session)
    (task,) = session.tasks(state="FAILED")
    assert task.error is not None
    assert (task.error.type, task.attempts) == ("WorkerCrashed", 2)
    assert_serves(grid)


@pytest.mark.parametrize("break_connection", [_close_all, _replace_sockets_by_a_live_one])
def test_a_silent_task_that_breaks_its_workers_connection_fails_alone(
    grid: Grid, break_connection: Callable[[int], None]
) -> None:
    def break_at(number: int) -> None:
        if number == 20:
            break_connection(number)

    session = grid.submit(break_at, range(40), bundle_size=40, retry=RetryPolicy(max_attempts=1))
    ended(session)
    assert [task.index for task in session.tasks(state="FAILED")] == [20]


@pytest.mark.parametrize("how", ["raise", "exit_hard", "loop", "return_lock"])
def test_a_bad_task_is_tried_again(grid: Grid, how: str) -> None:
    session = submitted(grid, BY["name"], events(how), attempts=2, **dict(EXPECTED[how].options))
    task = only_failed(session)
    assert task.error is not None
    assert task.error.type == EXPECTED[how].type
    assert task.attempts == 2


@pytest.mark.parametrize("how", ["raise", "exit_hard", "segfault"])
def test_never_retry_names_error_types(grid: Grid, how: str) -> None:
    retry = RetryPolicy(max_attempts=5, backoff_base_seconds=0, never_retry=(EXPECTED[how].type,))
    session = grid.submit(BY["name"], events(how), bundle_size=TASKS, retry=retry)
    assert only_failed(session).attempts == 1


@pytest.mark.parametrize("how", ["raise", "segfault", "exit_hard", "kill_self", "loop"])
def test_what_a_bad_task_printed_is_kept(grid: Grid, how: str) -> None:
    task = only_failed(submitted(grid, BY["name"], events(how), **dict(EXPECTED[how].options)))
    if how == "segfault":
        assert "printed before the end" in task.stdout
        assert "Fatal Python error: Segmentation fault" in task.stderr
    elif how == "raise":
        assert task.stdout == f"task {BAD} speaks\nabout to fail\n"
    else:
        assert task.stdout in {"", f"task {BAD} speaks\n"}  # what was not flushed is lost with the process


def test_each_task_keeps_its_own_output(grid: Grid) -> None:
    session = submitted(grid, BY["name"], events("segfault"))
    ended(session)
    printed = {task.index: task.stdout for task in session.tasks(state="COMPLETED")}
    assert printed == {n: f"task {n} speaks\n" for n in BUT_BAD}


def test_the_session_fails_with_the_first_errors(grid: Grid) -> None:
    session = submitted(grid, BY["name"], events("raise"))
    ended(session)
    with pytest.raises(SessionFailed) as caught:
        session.results()
    assert (caught.value.state, len(caught.value.failures)) == ("FAILED", 1)
    text = str(caught.value)
    assert f"session {session.id} ended FAILED: 1 of {TASKS} tasks failed" in text
    assert f"task {BAD}: ValueError: no price for desk 7" in text
    assert "resubmit" in text


def test_children_of_a_killed_task_are_killed(grid: Grid, tmp_path: Path) -> None:
    noted = tmp_path / "pids"
    only_failed(submitted(grid, BY["name"], events("loop_with_children", file=str(noted)), task_timeout=0.4))
    pids = [int(line.split()[0]) for line in noted.read_text().splitlines()]
    assert len(pids) == 4
    eventually(lambda: not any(map(is_alive, pids)), "the task's processes are gone")


def test_a_task_over_its_memory_leaves_the_next_session_its_own_limit(grid: Grid) -> None:
    task = only_failed(submitted(grid, BY["name"], events("allocate"), memory_mb=64))
    assert task.error is not None
    assert task.error.type in {"MemoryError", "WorkerCrashed"}
    session = grid.submit(handlers.square, [3.0], memory_mb=512)
    ended(session)
    assert list(session.results()) == [9.0]


@pytest.mark.parametrize("by", ["name", "callable"])
@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise ImportError('no such curve')", "no such curve"),
        ("import sys; print('on the way'); sys.exit(4)", r"sys\.exit\(4\)"),
        ("import os; os._exit(5)", "exited with code 5"),
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
        ("def handler(event: object, context: object", "never closed"),
    ],
    ids=["raises", "exits", "ends", "segfaults", "does not parse"],
)
def test_a_module_that_cannot_be_loaded(
    grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str, by: str
) -> None:
    """The submitter does not run the module; the workers do, and say what happened."""
    body = source if source.startswith("def") else f"{source}\ndef handler(event, context): return event"
    (tmp_path / "unloadable.py").write_text(body)
    monkeypatch.syspath_prepend(str(tmp_path))
    if by == "name" and source.startswith("def"):
        with pytest.raises(ValueError, match="cannot be parsed"):
            grid.submit("unloadable.handler", [1])
        return
    function: str | Callable[[int], Any] = "unloadable.handler"
    if by == "callable":

        def function(event: int) -> Any:
            import unloadable  # type: ignore[import-not-found]  # made by this test

            return unloadable.handler(event, None)

    session = grid.submit(function, range(6), retry=RetryPolicy(max_attempts=1))
    progress = ended(session)
    assert (progress.state, progress.failed) == ("FAILED", 6)
    errors = [task.error for task in session.tasks(state="FAILED")]
    assert all(error is not None and re.search(message, error.message + error.traceback) for error in errors)
    if by == "name":
        assert {error.type for error in errors if error is not None} == {"InitError"}
    assert_serves(grid)


@pytest.mark.parametrize("how", [how for how in handlers.RUDENESSES if how not in {"print_much", "change_folder"}])
def test_a_rude_or_busy_task_completes_and_does_no_harm(grid: Grid, how: str, tmp_path: Path) -> None:
    noted = tmp_path / "noted"
    session = submitted(grid, "tests.e2e.handlers.be_rude", events(how, file=str(noted)))
    ended(session)
    assert list(session.results()) == list(range(TASKS))
    printed = {task.index: task.stdout for task in session.tasks() if task.index != BAD}
    assert printed == {n: f"task {n} speaks\n" for n in BUT_BAD}
    assert {task.attempts for task in session.tasks()} == {1}
    if how == "reuse_descriptor_1":
        assert noted.read_text().startswith("precious")  # taking what was printed has not emptied it
    if how.startswith("fork"):
        eventually(lambda: noted.exists() and noted.read_text().endswith("\n"), "the child ran")
        child = int(noted.read_text().split()[0])
        eventually(lambda: not is_alive(child), "the child does not go on as a worker")
    assert_serves(grid)


def test_much_output_is_bounded(grid: Grid) -> None:
    session = submitted(grid, "tests.e2e.handlers.be_rude", events("print_much"))
    ended(session)
    printed = {task.index: task.stdout for task in session.tasks()}
    assert len(printed[BAD]) < 20_000
    assert printed[BAD].endswith("the last line\n")
    assert "bytes left out" in printed[BAD]
    assert printed[BAD + 1] == f"task {BAD + 1} speaks\n"


def test_a_changed_folder_does_not_outlive_the_session(grid: Grid) -> None:
    session = submitted(grid, "tests.e2e.handlers.be_rude", events("change_folder"))
    ended(session)
    assert list(session.results()) == list(range(TASKS))
    after = grid.submit("tests.e2e.handlers.where", range(8), bundle_size=1)
    ended(after)
    assert {result["cwd"] for result in after.results()} == {str(Path.cwd())}
