"""The processes in which calls of ``joblib.Parallel`` run: initialized, with so many threads, nested; as loky's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import threadpoolctl
from joblib import Parallel, delayed, parallel_config

import htcgrid_core.joblib_backend  # noqa: F401 - registers the backend
from htcgrid_core import InvalidInput
from tests.e2e.support import fresh_grid

_greeting = "nobody has initialized this"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One grid for this module."""
    with fresh_grid(tmp_path_factory.mktemp("grid"), slots=2) as url:
        yield url


def greet(folder: Path, greeting: str) -> None:
    """An initializer, which leaves a file for each time that it is called."""
    global _greeting
    _greeting = greeting
    (folder / f"{os.getpid()}-{len(list(folder.iterdir()))}").touch()


def greeted(_: int) -> tuple[int, str]:
    """In which process, and what the initializer has left there."""
    return os.getpid(), _greeting


def blas_threads(_: int) -> tuple[int, str | None]:
    """That a product of matrices would begin, and what a library is told that is loaded now."""
    np.dot(np.ones((2, 2)), np.ones((2, 2)))
    pools = threadpoolctl.threadpool_info()
    return max(pool["num_threads"] for pool in pools if pool["user_api"] == "blas"), os.environ.get("OMP_NUM_THREADS")


def nested(_: int) -> tuple[str, list[int], str]:
    """The backend inside of a task, what it makes of calls, and the one inside of these."""
    backend = joblib.parallel.get_active_backend()[0]
    calls = Parallel(n_jobs=2)(delayed(inner)(n) for n in range(3))
    return type(backend).__name__, [number for number, _ in calls], calls[0][1]


def inner(number: int) -> tuple[int, str]:
    """A call inside of a task."""
    return number * number, type(joblib.parallel.get_active_backend()[0]).__name__


def all_jobs(_: int) -> int:
    """How many jobs "all cores" are, inside of a task."""
    return int(joblib.effective_n_jobs(-1))


def test_an_initializer_is_called_once_in_each_worker(url: str, tmp_path: Path) -> None:
    options = {"initializer": greet, "initargs": (tmp_path, "hello")}
    with parallel_config(backend="htcgrid", url=url):
        results = Parallel(**options)(delayed(greeted)(n) for n in range(40))
    assert {text for _, text in results} == {"hello"}
    assert len(list(tmp_path.iterdir())) == len({pid for pid, _ in results})


def test_of_another_parallel_it_is_called_again(url: str, tmp_path: Path) -> None:
    for greeting in ("one", "two"):
        with parallel_config(backend="htcgrid", url=url, initializer=greet, initargs=(tmp_path, greeting)):
            assert {text for _, text in Parallel()(delayed(greeted)(n) for n in range(10))} == {greeting}


def test_what_an_initializer_raises_is_raised(url: str) -> None:
    with parallel_config(backend="htcgrid", url=url), pytest.raises(ZeroDivisionError):
        Parallel(initializer=divmod, initargs=(1, 0))(delayed(greeted)(n) for n in range(3))


def test_inner_max_num_threads_is_what_libraries_begin(url: str) -> None:
    with parallel_config(backend="htcgrid", url=url, inner_max_num_threads=2):
        assert Parallel()(delayed(blas_threads)(n) for n in range(4)) == [(2, "2")] * 4
    with parallel_config(backend="htcgrid", url=url):
        assert Parallel()(delayed(blas_threads)(n) for n in range(4)) == [(1, "1")] * 4, "a slot is one core"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"inner_max_num_threads": 0}, "inner_max_num_threads"),
        ({"inner_max_num_threads": "2"}, "inner_max_num_threads"),
        ({"initializer": "greet"}, "callable"),
    ],
)
def test_nonsense_is_told_at_once(options: dict[str, Any], why: str, url: str) -> None:
    with parallel_config(backend="htcgrid", url=url, **options), pytest.raises(InvalidInput, match=why):
        Parallel()([delayed(greeted)(1)])


def test_nested_calls_are_as_on_loky(url: str) -> None:
    on_loky = Parallel(n_jobs=2, backend="loky")([delayed(nested)(1), delayed(nested)(2)])
    with parallel_config(backend="htcgrid", url=url):
        assert Parallel()([delayed(nested)(1), delayed(nested)(2)]) == on_loky
        assert Parallel()([delayed(all_jobs)(1)]) == [1], "of a slot's one core"
    assert on_loky[0] == ("ThreadingBackend", [0, 1, 4], "SequentialBackend")
