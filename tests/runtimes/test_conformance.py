"""The same handlers in every runtime: the same results, the same errors."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import InvalidEvent, RetryPolicy, Session, SessionFailed, TaskFailed, TaskOutcome
from htcgrid_core.agent.memory import available_mb
from tests.e2e.support import ended, eventually, is_alive
from tests.runtimes.conftest import AWS_LAMBDA_RIC, MEMORY_MB, Deployed

TASKS, BAD = 12, 5

VALUES = [
    None, True, 0, -1, 1.5, 2**53, 2**64, -(2**70), 0.1 + 0.2, "", "text", "ünïcödé ☃ 🚀", 'quoted "\\ \n\t', [], {},
    [1, [2, [3, {"four": None}]]], {"a": {"b": [True, False, None]}}, "x" * 200_000, list(range(5000)),
    "\ud800 alone", {"\udfff": ["\udbff"]},
]  # fmt: skip


def is_too_large(value: object) -> bool:
    """For JavaScript, whose numbers hold integers up to 2**53; what passes the events on as they are keeps all."""
    return isinstance(value, int) and abs(value) > 2**53


def submitted(at: Deployed, events: Any, function: str = "app", attempts: int = 1, **options: Any) -> Session:
    """A session of a deployed function."""
    return at.grid.submit(function, events, retry=RetryPolicy(max_attempts=attempts, backoff_base_seconds=0), **options)


def only_failed(session: Session) -> TaskOutcome:
    """The one task that failed, once every other has completed."""
    now = ended(session)
    assert (now.state, now.completed, now.failed) == ("FAILED", TASKS - 1, 1)
    results = list(session.results(errors="return"))
    assert isinstance(results.pop(BAD), TaskFailed)
    assert results == [{"n": n} for n in range(TASKS) if n != BAD]
    return next(session.tasks(state="FAILED"))


def test_values_come_back_as_they_went(deployed: Deployed) -> None:
    values = [value for value in VALUES if deployed.runtime is not AWS_LAMBDA_RIC or not is_too_large(value)]
    session = submitted(deployed, values)
    ended(session)
    results = list(session.results())
    assert results == values
    assert [type(result) for result in results] == [type(value) for value in values]


def test_constants_of_pythons_json(deployed: Deployed) -> None:
    """Only native workers read them: others are given nothing, and no attempt more helps."""
    values = [1.5, math.inf, [1, -math.inf]]
    if not deployed.runtime.is_python:
        with pytest.raises(InvalidEvent, match=r"event 1 .* it holds Infinity") as caught:
            submitted(deployed, values, token="constants")
        assert caught.value.index == 1
        again = submitted(deployed, ["fine"], token="constants")
        assert ended(again).total == 1, "nothing was written under its token"
        curve = deployed.grid.put({"discount": [1.0, math.nan]})  # of which nobody knows who will read it
        values = ["before", {"curve": curve}, {"curve": curve}]
    session = submitted(deployed, values, attempts=3, bundle_size=3)
    now = ended(session)
    if deployed.runtime.native and deployed.runtime.is_python:
        assert list(session.results()) == values
        return
    assert (now.completed, now.failed) == (1, 2)
    for task in session.tasks(state="FAILED"):
        assert task.error is not None
        assert (task.error.type, task.attempts) == ("InvalidEvent", 1)
        assert "only native Python workers read it" in task.error.message


def test_what_a_handler_is_told(deployed: Deployed) -> None:
    session = submitted(deployed, [{"how": "tell"}] * 3, memory_mb=MEMORY_MB if deployed.runtime.is_python else None)
    ended(session)
    for index, told in enumerate(session.results()):
        assert told["request_id"] == f"{session.id}/{index}/1"
        assert (told["function"], told["version"]) == ("app", "1")
        assert told["memory_mb"] == (available_mb() if deployed.runtime.is_node else MEMORY_MB)
        assert 0 < told["milliseconds_left"] <= 30_000
        assert told["desk"] == "rates"
        assert told["folder"] == "task"
        assert told["secret"] == ""


def test_what_a_task_prints_is_its_own(deployed: Deployed) -> None:
    session = submitted(deployed, [{"how": "print", "n": n} for n in range(20)])
    ended(session)
    assert list(session.results()) == list(range(20))
    for task in session.tasks():
        assert task.stdout == f"to stdout {task.index}\n"
        assert task.stderr == f"to stderr {task.index}\n"


@dataclass(frozen=True)
class Expected:
    """What a user is told of a failure, whatever the runtime."""

    type: str
    message: str
    traceback: str = ""
    options: tuple[tuple[str, Any], ...] = ()
    python_only: bool = False


TIMEOUT = (("task_timeout", 0.5),)
EXPECTED = {
    "raise": Expected("ValueError", rf"^no price for desk {BAD}$", r"in _price|no price"),
    "exit_hard": Expected("WorkerCrashed", r"^the worker exited with code 7$"),
    "kill_self": Expected("WorkerCrashed", r"^the worker was killed by SIGKILL"),
    "sleep": Expected("TaskTimeout", r"^Task timed out after 0\.5 seconds$", options=TIMEOUT),
    "huge": Expected("InvalidResult", r"^the result has [\d,]+ bytes, over 67,108,864"),
    "unencodable": Expected("InvalidResult", r"lock", python_only=True),
    "allocate": Expected("MemoryError", r"", r"in _allocate", python_only=True),
}


@pytest.mark.parametrize("how", EXPECTED)
def test_a_bad_task_fails_alone_and_says_why(deployed: Deployed, how: str) -> None:
    expected = EXPECTED[how]
    if expected.python_only and not deployed.runtime.is_python:
        pytest.skip("of Python's handlers")
    events = [{"n": n, "how": how} if n == BAD else {"n": n} for n in range(TASKS)]
    task = only_failed(submitted(deployed, events, bundle_size=TASKS, **dict(expected.options)))
    assert task.error is not None
    assert task.error.type == expected.type
    assert re.search(expected.message, task.error.message)
    assert re.search(expected.traceback, task.error.traceback)
    assert task.attempts == 1


@pytest.mark.parametrize("how", ["raise", "exit_hard", "sleep"])
def test_a_bad_task_is_tried_again(deployed: Deployed, how: str) -> None:
    events = [{"n": n, "how": how} if n == BAD else {"n": n} for n in range(TASKS)]
    task = only_failed(submitted(deployed, events, attempts=2, **dict(EXPECTED[how].options)))
    assert task.attempts == 2


def test_a_traceback_reads_as_python_writes_it(deployed: Deployed) -> None:
    if not deployed.runtime.is_python:
        pytest.skip("of Python's handlers")
    session = submitted(deployed, [{"how": "raise", "n": 5}])
    ended(session)
    error = next(session.tasks(state="FAILED")).error
    assert error is not None
    lines = error.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "ValueError: no price for desk 5"
    assert [re.sub(r"^.*in ", "", line) for line in lines if line.startswith('  File "')] == [
        "handler",
        "_raise",
        "_price",
    ]


def test_sys_exit_is_the_one_difference(deployed: Deployed) -> None:
    """A native worker survives it; AWS's client ends, as on Lambda."""
    if not deployed.runtime.is_python:
        pytest.skip("of Python's handlers")
    session = submitted(deployed, [{"how": "exit"}, {"n": 1}], bundle_size=2)
    ended(session)
    error = next(session.tasks(state="FAILED")).error
    assert error is not None
    if deployed.runtime.native:
        assert (error.type, error.message) == ("SystemExit", "the handler called sys.exit(3)")
    else:
        assert (error.type, error.message) == ("WorkerCrashed", "the worker exited with code 3")


def test_children_are_killed_with_their_task(deployed: Deployed, tmp_path: Path) -> None:
    where = tmp_path / "child"
    session = submitted(deployed, [{"how": "sleep_with_child", "file": str(where)}], task_timeout=1.5)
    ended(session)
    error = next(session.tasks(state="FAILED")).error
    assert error is not None
    assert error.type == "TaskTimeout"
    eventually(lambda: not is_alive(int(where.read_text())), "the handler's child is gone")


@pytest.mark.parametrize("function", ["broken_import", "broken_exit"])
def test_a_function_that_cannot_be_loaded(deployed: Deployed, function: str) -> None:
    session = submitted(deployed, range(4), function)
    now = ended(session)
    assert (now.state, now.failed) == ("FAILED", 4)
    for task in session.tasks():
        assert task.error is not None
        assert task.error.type == "InitError"
        assert f"{function}.handler" in task.error.message
        if function == "broken_import":
            assert "no_such_module_anywhere" in task.error.message
        else:
            assert "exited with code 9" in task.error.message
    good = submitted(deployed, [1, 2])
    ended(good)
    assert list(good.results()) == [1, 2]


def test_a_cancelled_session_stops(deployed: Deployed) -> None:
    session = submitted(deployed, [{"how": "sleep"}] * 20)
    eventually(lambda: any(task.state == "RUNNING" for task in session.tasks()), "a task runs")
    session.cancel("no longer needed")
    assert ended(session).cancelled == 20
    with pytest.raises(SessionFailed):
        list(session.results())


def test_shared_inputs(deployed: Deployed) -> None:
    discount: Any = [1.0, 0.97, 2**53 if deployed.runtime is AWS_LAMBDA_RIC else 2**70]
    curve = deployed.grid.put({"discount": discount})
    if deployed.runtime.is_python:
        events = [{"how": "shared", "curve": curve}] * 3
        expected: Any = discount
    else:
        events, expected = [{"curve": curve}] * 3, {"curve": {"discount": discount}}
    session = submitted(deployed, events)
    ended(session)
    assert list(session.results()) == [expected] * 3


def test_staged_paths(deployed: Deployed, tmp_path: Path) -> None:
    """A file and a folder are paths of the machine: other runtimes are told them in JSON."""
    if deployed.runtime.native and deployed.runtime.is_python:
        pytest.skip("native handlers have them in tests/e2e/test_staged_files.py")
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "book.txt").write_text("a book")
    places = {name: deployed.grid.put(tmp_path / "library" / name) for name in ("", "book.txt")}
    session = submitted(deployed, [{"codecs": [one.to_json() for one in places.values()]}])
    ended(session)
    ((folder, file),) = [found["codecs"] for found in session.results()]
    assert (folder["codec"], file["codec"]) == ("folder", "file")
    assert (Path(folder["path"]) / "book.txt").read_text() == Path(file["path"]).read_text() == "a book"


def test_workers_of_a_session_or_of_a_task_alone(deployed: Deployed) -> None:
    """What a handler keeps in its process is seen by its session alone, or by nobody."""
    if not deployed.runtime.is_python:
        pytest.skip("of Python's handlers")
    remembered = {}
    for n, isolation in enumerate((None, "session", "session", "task", None)):
        session = submitted(deployed, [{"how": "remember", "n": n}] * 8, isolation=isolation)
        ended(session)
        remembered[n] = list(session.results())
    assert {n for n, told in remembered.items() if {seen for each in told for seen in each} == {n}} >= {1, 2, 3}
    assert remembered[3] == [[3]] * 8
    assert not any({1, 2, 3} & set(each) for each in remembered[4])
