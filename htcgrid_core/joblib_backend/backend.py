"""What joblib asks of a backend, answered by a grid's executor."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from joblib.parallel import ParallelBackendBase

from htcgrid_core.client.connect import connect
from htcgrid_core.client.executor import GridExecutor
from htcgrid_core.client.grid import Grid
from htcgrid_core.codecs.shared import SharedInput
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.joblib_backend.setup import Setup, run_in
from htcgrid_core.joblib_backend.sharing import SharedArrays

# What joblib passes to every backend's ``configure``, or its own take, and means nothing on a grid.
JOBLIB_OPTIONS = ("context", "idle_worker_timeout", "mmap_mode", "prefer", "require", "temp_folder", "verbose")
DEFAULT_PRE_DISPATCH = "2*n_jobs"  # of joblib and of scikit-learn
IN_FLIGHT_PER_SLOT = 256  # enough calls at once that the grid can bundle them, few enough to hold
AGENT_START_SECONDS = 5.0


class GridBackend(ParallelBackendBase):  # type: ignore[misc]  # joblib ships no types
    """Runs the calls of ``joblib.Parallel`` as tasks of a grid.

    joblib does not batch for it: each call is a task, and the grid bundles tasks by itself.

    Args:
        url: the grid's URL; None for ``HTCGRID_URL``.
        api_token, allow_pickle: as for ``connect``; calls over HTTP need the latter.
        inner_max_num_threads: that libraries begin in each call; None for the cores of a slot.
        options: as for ``grid.submit``: pool, priority, retry, task_timeout, labels and so on; and joblib's
            ``initializer``, called with ``initargs`` once in each worker process.
    """

    supports_retrieve_callback = True  # and so generators and timeouts
    supports_inner_max_num_threads = True
    default_n_jobs = -1

    def __init__(
        self,
        url: str | None = None,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        api_token: str | None = None,
        allow_pickle: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)
        self._reached: dict[str, Any] = {"url": url, "api_token": api_token, "allow_pickle": allow_pickle}
        self._options = options
        self._grid: Grid | None = None
        self._executor: GridExecutor | None = None
        self._call_options: dict[str, Any] = {}
        self._max_nbytes: int | None = None
        self._arrays: SharedArrays | None = None
        self._setup: SharedInput | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the API token, which is sent and stored nowhere: another process finds its own."""
        return {**self.__dict__, "_reached": {**self._reached, "api_token": None}}

    # Before a call

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many jobs run at once: for -1 the grid's slots, for -2 one less.

        A positive number is passed on to those who divide their work by it; it does not hold the grid back. Never 1
        unless that is asked for: joblib runs in its own process what it believes to be one job.
        """
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            n_jobs = self.default_n_jobs
        if n_jobs > 0:
            return n_jobs
        return max(2, self._slots() + 1 + n_jobs)

    def configure(self, n_jobs: int = 1, parallel: Any = None, max_nbytes: int | None = None, **options: Any) -> int:
        """Prepare for the calls of one ``Parallel``.

        Raises:
            InvalidInput: an option is no good.
            UnknownGrid, GridUnavailable: from ``connect``.
        """
        own = {name: value for name, value in {**self._options, **options}.items() if name not in JOBLIB_OPTIONS}
        initializer, initargs = own.pop("initializer", None), tuple(own.pop("initargs", ()))
        setup = Setup(initializer, initargs, self.inner_max_num_threads)
        setup.check()
        reached = {"url": own.pop("url", self._reached["url"])}
        reached |= {name: own.pop(name, self._reached[name]) for name in ("api_token", "allow_pickle")}
        if self._grid is None or reached != self._reached:
            self._reached, self._grid = reached, connect(**reached)
        self.parallel = parallel
        self._max_nbytes = max_nbytes
        self._call_options = {"name": "joblib", **own}
        if "token" in self._call_options:
            raise InvalidInput("the calls of a Parallel may become several sessions, which cannot share a token")
        self._grid.check_calls(self._call_options)
        if str(parallel.pre_dispatch).replace(" ", "") == DEFAULT_PRE_DISPATCH:
            parallel.pre_dispatch = f"{IN_FLIGHT_PER_SLOT}*n_jobs"
        jobs = self.effective_n_jobs(n_jobs)
        self._setup = self._grid.put(setup, codec="pickle") if setup.is_needed else None
        self._begin()
        return jobs

    # The calls

    def submit(self, func: Any, callback: Callable[[Future[Any]], None] | None = None) -> Future[Any]:
        """Run one batch of joblib's calls as a task."""
        assert self._executor is not None
        assert self._arrays is not None
        if self._setup is None:
            future = self._executor.submit_encoded(_run, partial(self._arrays.encoded, func))
        else:
            future = self._executor.submit_encoded(run_in, partial(self._arrays.encoded, self._setup, func))
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """The results of a batch, or what a call raised."""
        return out.result()

    # After a call

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Cancel the calls that are left; sessions that nobody waits for any more are cancelled with them."""
        self._end(cancel=True)
        if ensure_ready:
            self._begin()

    def terminate(self) -> None:
        """Let go of the connection; the next call connects again."""
        self._end(cancel=False)
        if self._grid is not None:
            self._grid.close()

    def _begin(self) -> None:
        assert self._grid is not None
        self._executor = self._grid.executor(**self._call_options)
        self._arrays = SharedArrays(self._grid, self._max_nbytes)

    def _end(self, *, cancel: bool) -> None:
        executor, self._executor, self._arrays = self._executor, None, None
        if executor is not None:
            executor.shutdown(wait=True, cancel_futures=cancel)

    def _slots(self) -> int:
        """Tasks that the grid can run at once; agents that were idle and left are started first."""
        grid = self._grid = self._grid or connect(**self._reached)
        deadline = time.monotonic() + AGENT_START_SECONDS
        while not (slots := grid.measure().slots):
            if time.monotonic() > deadline:
                return grid.gateway.describe().agents
            grid.wake()
            time.sleep(0.02)
        return slots


def _run(batch: Callable[[], list[Any]]) -> list[Any]:
    """The one function of all tasks that need no more, so that they share sessions."""
    return batch()
