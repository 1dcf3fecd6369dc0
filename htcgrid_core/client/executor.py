"""A complete ``concurrent.futures.Executor`` over a grid.

Calls submitted close together share a session, and one thread watches all sessions. As with a
ProcessPoolExecutor, what a call raises is final unless a retry policy is given.
"""

from __future__ import annotations

import atexit
import os
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, TypeVar

from htcgrid_core.client.call_grid import CallGrid
from htcgrid_core.client.executor_maps import Maps, buffered
from htcgrid_core.client.executor_threads import ExecutorThreads
from htcgrid_core.client.map import calls_of, map_results
from htcgrid_core.codecs.events import EncodedEvent, encoded_by
from htcgrid_core.codecs.values import encode_pickle
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.gateway.in_tasks import check_not_importing

T = TypeVar("T")


class GridExecutor(Executor):
    """Runs calls as tasks of a grid; made by ``grid.executor()``.

    A call may be cancelled until it is done, so its future is never ``running()``. A session whose calls were all
    cancelled is cancelled, tasks that run and all.
    """

    def __init__(self, grid: CallGrid, **options: Any) -> None:
        grid.check_calls(options)  # bad options are told now
        self._maps = Maps()
        self._grid = grid
        self._options = options
        self._calls = _threads(grid, options)
        _executors.add(self)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run ``fn(*args, **kwargs)`` on the grid.

        The arguments are pickled at once, so what is done to them afterwards does not concern the call. What a
        callable object holds is read when its session is sent.

        Raises:
            InvalidInput: ``fn`` is not callable, or this is a worker that imports the module which calls.
            RuntimeError: the executor was shut down.
        """
        return self.submit_encoded(fn, partial(encoded_by, encode_pickle, [args, kwargs]))

    def submit_encoded(self, fn: Callable[..., T], encode: Callable[[], EncodedEvent]) -> Future[T]:
        """As ``submit``, for those who pickle ``[args, kwargs]`` in a way of their own.

        Args:
            encode: called at once, and again if it was interrupted; what else it raises is the call's.
        """
        if not callable(fn):
            raise InvalidInput(f"a {type(fn).__name__} is not callable")
        check_not_importing()  # here, since another thread submits
        self._calls.check()
        future: Future[T] = Future()
        try:
            event = encode()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and _succeeds(encode):
                raise  # not theirs: it was Ctrl-C
            future.set_exception(error)
            return future
        self._calls.add(fn, event, future)
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """``grid.map``: one session for the whole vector. ``chunksize`` is accepted and has no effect.

        Args:
            timeout: seconds from this call until the last result.
            buffersize: calls that are made ahead of the results that are taken, so that endless iterables can be
                mapped; the iterables are read on as results are. As in Python 3.14, and there as ``submit`` sends them.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        self._calls.check()
        deadline = None if timeout is None else time.monotonic() + timeout
        if not iterables:
            return iter(())
        if buffersize is not None:
            return buffered(self, fn, iterables, buffersize, deadline)
        session = self._grid.submit_calls(fn, calls_of(iterables), self._options)
        self._maps.add(session)
        return map_results(session, deadline)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; see ``concurrent.futures.Executor.shutdown``."""
        self._calls.shut_down(cancel=cancel_futures)
        if cancel_futures:
            self._maps.cancel()
        if wait:
            self._maps.wait()
            self._calls.join()

    @property
    def _max_workers(self) -> int:
        """The grid's slots, under the name by which Dask and tqdm ask the standard library's executors."""
        grid = self._grid.gateway
        return max(1, grid.measure().slots or grid.describe().agents)

    def _begin_anew(self) -> None:
        """With no calls and no threads: what was submitted before a fork is the parent's."""
        self._calls = _threads(self._grid, self._options, is_shut_down=self._calls.is_shut_down)


def _succeeds(encode: Callable[[], Any]) -> bool:
    try:
        encode()
    except BaseException:  # noqa: BLE001 - whatever pickling the arguments raises
        return False
    return True


_executors: weakref.WeakSet[GridExecutor] = weakref.WeakSet()
_all_threads: weakref.WeakSet[ExecutorThreads] = weakref.WeakSet()  # also of executors that nobody has any more


def _threads(grid: CallGrid, options: Mapping[str, Any], *, is_shut_down: bool = False) -> ExecutorThreads:
    threads = ExecutorThreads(grid, options, is_shut_down=is_shut_down)
    _all_threads.add(threads)
    return threads


@atexit.register
def _finish_all() -> None:
    """Like ProcessPoolExecutor, finish what was submitted before the interpreter ends."""
    for executor in list(_executors):
        executor.shutdown()
    for threads in list(_all_threads):
        threads.shut_down()
        threads.join()


def _begin_anew_in_child() -> None:
    """The parent's threads, and locks that they may have held, are not there to be waited for."""
    _all_threads.clear()
    for executor in list(_executors):
        executor._begin_anew()


os.register_at_fork(after_in_child=_begin_anew_in_child)
