"""``joblib.Parallel`` on the grid."""

from __future__ import annotations

import functools
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import pytest
from joblib import Parallel, delayed, parallel_config

import htcgrid_core.joblib_backend  # noqa: F401 - registers the backend
from htcgrid_core import Grid, InvalidInput, SessionState, TaskFailed, UnknownGrid, connect
from tests.e2e.support import eventually, fresh_grid, run_script


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One grid for this module."""
    with fresh_grid(tmp_path_factory.mktemp("grid"), slots=3) as url:
        yield url


@pytest.fixture
def grid(url: str) -> Iterator[Grid]:
    """A connection, to look at what the backend did."""
    with connect(url) as connected:
        yield connected


@pytest.fixture
def on_grid(url: str) -> Iterator[None]:
    """joblib's default is this module's grid."""
    with parallel_config(backend="htcgrid", url=url):
        yield


def square(number: int) -> int:
    """A call."""
    return number * number


def refuse(number: int) -> int:
    """A call that fails for 13, at once, and waits for ever otherwise."""
    if number == 13:
        raise ValueError("13 is no good")
    time.sleep(3600)
    return number


def wait_at(gate: Path, number: int) -> int:
    """Number 0 comes back at once, the others when the gate opens."""
    while number and not gate.exists():
        time.sleep(0.01)
    return number


def sessions_named(grid: Grid, name: str) -> list[Any]:
    """Sessions of one test."""
    return [session for session in grid.sessions(limit=10_000) if session.name == name]


@pytest.mark.usefixtures("on_grid")
def test_results_come_in_order() -> None:
    assert Parallel()(delayed(square)(n) for n in range(500)) == [n * n for n in range(500)]
    assert Parallel(n_jobs=2)(delayed(square)(n) for n in range(3)) == [0, 1, 4]
    assert Parallel()([]) == []


@pytest.mark.usefixtures("on_grid")
def test_any_callable_and_any_arguments() -> None:
    offset = 5
    calls = [delayed(lambda x: x + offset)(1), delayed(functools.partial(pow, 2))(3), delayed(dict)(a=1)]
    assert Parallel()(calls) == [6, 8, {"a": 1}]


def test_the_backend_is_named_in_parallel_itself(url: str, grid: Grid) -> None:
    assert Parallel(backend="htcgrid", url=url, name="itself", priority="high")(delayed(abs)(n) for n in (-1, 2)) == [
        1,
        2,
    ]
    assert {session.spec.priority for session in sessions_named(grid, "itself")} == {"high"}


def test_options_reach_the_session(url: str, grid: Grid) -> None:
    with parallel_config(backend="htcgrid", url=url, name="options", labels={"desk": "rates"}, task_timeout=77):
        Parallel()(delayed(square)(n) for n in range(4))
    for session in sessions_named(grid, "options"):
        assert session.labels == {"desk": "rates"}
        assert session.spec.task_timeout_seconds == 77


def test_calls_share_sessions(url: str, grid: Grid) -> None:
    others = {session.id for session in sessions_named(grid, "bundled")}
    with parallel_config(backend="htcgrid", url=url, name="bundled"):
        parallel = Parallel(pre_dispatch="all")  # so that on a busy machine calls do not come by ones and twos
        assert sum(parallel(delayed(square)(n) for n in range(2000))) == sum(n * n for n in range(2000))
    sessions = [session for session in sessions_named(grid, "bundled") if session.id not in others]
    assert sum(session.progress().total for session in sessions) == 2000
    assert len(sessions) < 200, "a call is not a session"


@pytest.mark.usefixtures("on_grid")
def test_minus_one_means_the_slots_of_the_grid() -> None:
    assert joblib.effective_n_jobs(-1) == 3
    assert joblib.effective_n_jobs(-2) == 2
    assert joblib.effective_n_jobs(-9) == 2, "1 would mean this very process"
    assert joblib.effective_n_jobs(7) == 7
    with pytest.raises(ValueError, match="n_jobs == 0"):
        joblib.effective_n_jobs(0)


@pytest.mark.usefixtures("on_grid")
def test_one_job_runs_here() -> None:
    assert Parallel(n_jobs=1)(delayed(os.getpid)() for _ in range(2)) == [os.getpid()] * 2
    assert os.getpid() not in Parallel()(delayed(os.getpid)() for _ in range(2))


def test_an_exception_cancels_the_rest(url: str, grid: Grid) -> None:
    with (
        parallel_config(backend="htcgrid", url=url, name="refused"),
        pytest.raises(ValueError, match="13 is no good") as caught,
    ):
        Parallel()(delayed(refuse)(n) for n in (13, 1, 2, 3))
    assert isinstance(caught.value.__cause__, TaskFailed)
    assert "in refuse" in str(caught.value.__cause__)
    for session in sessions_named(grid, "refused"):
        assert session.wait(timeout=60).ended


def test_a_generator_yields_while_the_rest_runs(url: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with parallel_config(backend="htcgrid", url=url):
        results = Parallel(return_as="generator")(delayed(wait_at)(gate, n) for n in range(3))
        assert next(results) == 0
        gate.touch()
        assert list(results) == [1, 2]


def test_an_unordered_generator_yields_what_is_done(url: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with parallel_config(backend="htcgrid", url=url):
        results = Parallel(return_as="generator_unordered")(delayed(wait_at)(gate, n) for n in (1, 0))
        assert next(results) == 0
        gate.touch()
        assert list(results) == [1]


def test_an_abandoned_generator_cancels_its_sessions(url: str, grid: Grid, tmp_path: Path) -> None:
    with parallel_config(backend="htcgrid", url=url, name="abandoned"):
        results = Parallel(return_as="generator")(delayed(wait_at)(tmp_path / "never", n) for n in range(10))
        assert next(results) == 0
        with pytest.warns(UserWarning, match="have been successfully executed|cancelled"):
            results.close()
    for session in sessions_named(grid, "abandoned"):
        assert session.wait(timeout=60).state in {SessionState.CANCELLED, SessionState.COMPLETED}
    assert any(s.progress().state is SessionState.CANCELLED for s in sessions_named(grid, "abandoned"))


def test_a_timeout_cancels(url: str, grid: Grid, tmp_path: Path) -> None:
    with parallel_config(backend="htcgrid", url=url, name="late"), pytest.raises(multiprocessing.TimeoutError):
        Parallel(timeout=0.2)(delayed(wait_at)(tmp_path / "never", n) for n in range(1, 5))
    for session in sessions_named(grid, "late"):
        assert session.wait(timeout=60).state is SessionState.CANCELLED


def test_an_endless_iterable_is_not_read_to_its_end(url: str) -> None:
    def endless() -> Iterator[Any]:
        number = 0
        while True:
            yield delayed(square)(number)
            number += 1

    with parallel_config(backend="htcgrid", url=url):
        results = Parallel(return_as="generator")(endless())
        assert [next(results) for _ in range(5)] == [0, 1, 4, 9, 16]
        with pytest.warns(UserWarning, match="cancelled"):
            results.close()


@pytest.mark.usefixtures("on_grid")
def test_a_managed_parallel_is_used_again_also_after_an_error() -> None:
    with Parallel() as parallel:
        assert parallel(delayed(square)(n) for n in range(3)) == [0, 1, 4]
        with pytest.raises(ValueError, match="13"):
            parallel(delayed(refuse)(n) for n in (13, 13))
        assert parallel(delayed(square)(n) for n in range(3)) == [0, 1, 4]


def test_bad_options_are_told_at_once(url: str) -> None:
    with pytest.raises(InvalidInput, match="priority"):
        Parallel(backend="htcgrid", url=url, priority="urgent")([delayed(square)(1)])
    with pytest.raises(InvalidInput, match="token"):
        Parallel(backend="htcgrid", url=url, token="once")([delayed(square)(1)])
    with pytest.raises(UnknownGrid, match="nosuch"):
        Parallel(backend="htcgrid", url="nosuch://")([delayed(square)(1)])


def test_arguments_that_cannot_be_pickled_raise(url: str) -> None:
    with parallel_config(backend="htcgrid", url=url), pytest.raises(TypeError, match="pickle"):
        Parallel()([delayed(square)(threading.Lock())])


def test_from_a_script(url: str, tmp_path: Path) -> None:
    """Functions of ``__main__`` go by value, and the process ends when the script does."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, joblib\n"
        "import htcgrid_core.joblib_backend\n"
        "def twice(x):\n"
        "    return 2 * x\n"
        "with joblib.parallel_config(backend='htcgrid', url=sys.argv[1]):\n"
        "    print(joblib.Parallel()(joblib.delayed(twice)(n) for n in range(5)))\n"
    )
    done = run_script(script, url)
    assert done.stdout == "[0, 2, 4, 6, 8]\n", done.stderr


def test_no_thread_is_left(url: str) -> None:
    with parallel_config(backend="htcgrid", url=url):
        Parallel()(delayed(square)(n) for n in range(3))
    eventually(lambda: not [t for t in threading.enumerate() if t.name.startswith("htcgrid-")], "its threads are gone")
