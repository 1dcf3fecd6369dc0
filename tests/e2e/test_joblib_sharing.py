"""Large arrays among the arguments of ``joblib.Parallel``: stored once, wherever they are, and read-only in tasks."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from joblib import Parallel, delayed, parallel_config
from scipy import sparse

import htcgrid_core.joblib_backend  # noqa: F401 - registers the backend
from htcgrid_core import Grid, SharedInput
from htcgrid_core.domain import limits
from htcgrid_core.joblib_backend.sharing import SharedArrays
from tests.e2e.support import fresh_grid

LENGTH = 200_000  # of float64: above joblib's 1M


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One grid for this module."""
    with fresh_grid(tmp_path_factory.mktemp("grid"), slots=2) as url:
        yield url


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How large what was stored is, in order."""
    sizes: list[int] = []
    put = Grid.put

    def noted(self: Grid, value: Any, **how: Any) -> SharedInput:
        sizes.append(value._array.nbytes)
        return put(self, value, **how)

    monkeypatch.setattr(Grid, "put", noted)
    return sizes


def sum_and_place(array: Any) -> tuple[float, bool, int]:
    """What a task sees of an array, and in which process."""
    return float(array.sum()), bool(array.flags.writeable), os.getpid()


def inside(what: Any) -> tuple[float, bool]:
    """The sum of the array in something, and whether it could be written to."""
    if isinstance(what, pd.DataFrame):
        array = what.to_numpy()
        return float(array.sum()), bool(what["x"].to_numpy().flags.writeable)
    if isinstance(what, sparse.csr_array):
        return float(what.sum()), bool(what.data.flags.writeable)
    while not isinstance(what, np.ndarray):
        what = what["array"] if isinstance(what, dict) else what[0]
    return float(what.sum()), bool(what.flags.writeable)


KINDS: dict[str, Callable[[Any], Any]] = {
    "a list": lambda array: [array],
    "a dict in a tuple": lambda array: ({"array": array},),
    "a frame": lambda array: pd.DataFrame({"x": array, "y": 0.0}),
    "a sparse matrix": lambda array: sparse.csr_array(array.reshape(1, -1)),
    "a memory map": lambda array: [np.memmap("/dev/zero", dtype="f8", shape=(LENGTH,), mode="c") + array],
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_array_is_stored_once_wherever_it_is(kind: str, url: str, stored: list[int]) -> None:
    what = KINDS[kind](np.ones(LENGTH))
    with parallel_config(backend="htcgrid", url=url):
        results = Parallel()(delayed(inside)(what) for _ in range(20))
    assert set(results) == {(float(LENGTH), False)}
    assert 1 <= len(stored) <= 2, "of a sparse matrix, its numbers and their places"


def test_a_large_array_is_stored_once_and_small_ones_travel(url: str, stored: list[int]) -> None:
    large, small = np.ones(LENGTH), np.ones(10)
    with parallel_config(backend="htcgrid", url=url):
        results = Parallel()(delayed(sum_and_place)(array) for array in [large, small] * 10)
    assert {result[:2] for result in results} == {(float(LENGTH), False), (10.0, True)}
    assert stored == [large.nbytes]


def test_so_in_closures_and_in_objects_of_main(url: str, stored: list[int]) -> None:
    array = np.ones(LENGTH)
    with parallel_config(backend="htcgrid", url=url):
        assert Parallel()(delayed(lambda n: n + array.sum())(n) for n in range(5)) == [LENGTH + n for n in range(5)]
    assert stored == [array.nbytes]


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.ones((LENGTH, 2))[:, 0], id="with gaps"),
        pytest.param(np.ones((3, LENGTH), order="F"), id="in columns"),
        pytest.param(np.full(LENGTH, np.timedelta64(1, "s")), id="of times"),
        pytest.param(np.full(LENGTH, b"1234567"), id="of bytes"),
        pytest.param(np.full(LENGTH, 1, dtype=[("a", "i4"), ("b", "f8")]), id="of records"),
    ],
)
def test_arrays_of_all_kinds_come_as_they_are(array: Any, url: str, stored: list[int]) -> None:
    def as_it_is(found: Any) -> tuple[Any, Any, bool, bool]:
        return found.dtype, found.shape, bool((found == array.flat[0]).all()), bool(found.flags.writeable)

    array = array.copy() if array.dtype.names else array
    with parallel_config(backend="htcgrid", url=url):
        found = Parallel()(delayed(as_it_is)(array) for _ in range(2))
    assert found == [(array.dtype, array.shape, True, False)] * 2
    assert len(stored) == 1 or array.dtype.names, "the closure's own is another one only if it was copied"


def test_sharing_may_be_switched_off(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Grid, "put", lambda *_, **__: pytest.fail("it was stored"))
    with parallel_config(backend="htcgrid", url=url, max_nbytes=None):
        ((total, writeable, _),) = Parallel()([delayed(sum_and_place)(np.ones(LENGTH))])
    assert (total, writeable) == (float(LENGTH), True)


def test_what_would_be_too_large_for_an_event_is_none_any_more(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_EVENT_BYTES", 1 << 20)
    with parallel_config(backend="htcgrid", url=url):
        assert Parallel()([delayed(inside)([np.ones(LENGTH)])]) == [(float(LENGTH), False)]


@pytest.mark.slow
def test_a_frame_of_a_hundred_megabytes_may_be_an_argument(url: str) -> None:
    frame = pd.DataFrame({"x": np.ones(6_500_000), "y": 0.0})
    assert frame["x"].nbytes + frame["y"].nbytes > limits.MAX_EVENT_BYTES
    with parallel_config(backend="htcgrid", url=url):
        assert Parallel()(delayed(inside)(frame) for _ in range(4)) == [(6_500_000.0, False)] * 4


def test_more_arrays_than_a_worker_once_kept_are_read_once(url: str) -> None:
    arrays = [np.full(LENGTH, float(n)) for n in range(12)]

    def ids(found: list[Any]) -> tuple[int, list[int]]:
        return os.getpid(), [id(array) for array in found]

    with parallel_config(backend="htcgrid", url=url):
        seen = Parallel()(delayed(ids)(arrays) for _ in range(6))
    by_process: dict[int, list[int]] = {}
    for pid, places in seen:
        assert by_process.setdefault(pid, places) == places, "the second task got the same ones"


def test_an_array_that_its_user_has_let_go_of_is_not_kept(url: str, stored: list[int]) -> None:
    from htcgrid_core import connect

    with connect(url) as grid:
        arrays = SharedArrays(grid, 1 << 20)
        array = np.ones(LENGTH)
        gone = weakref.ref(array)
        first = arrays.encoded([array])
        assert arrays.encoded([array]) == first
        assert stored == [array.nbytes]
        del array
        gc.collect()
        assert gone() is None
        assert not arrays._shared
