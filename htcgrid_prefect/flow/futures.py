"""Futures of task runs on the grid: a few words each, settled page by page."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

from prefect.client.schemas.objects import State, StateDetails
from prefect.futures import PrefectFuture, PrefectTaskRunFuture
from prefect.states import Pending

from htcgrid_prefect.flow.group import Group
from htcgrid_prefect.shared.compat import raise_if_flow_run_suspension_requested

R = TypeVar("R")
WAKE_EVERY_SECONDS = 1.0  # so that what Prefect throws into a waiting thread is noticed


class HTCGridFuture(PrefectTaskRunFuture[R]):
    """A task run on the grid.

    ``state`` never asks the API. A future holds what came back from the worker, pickled, until somebody asks for it.
    """

    __module__ = "htcgrid_prefect"  # in pickles: the public name, wherever its file is
    __slots__ = ("_callbacks", "_group", "_index", "_settled", "_state")

    def __init__(self, group: Group[HTCGridFuture[Any]], index: int) -> None:
        self._group = group
        self._index = index
        self._settled: bytes | State[Any] | None = None
        self._state: State[R] | None = None
        self._callbacks: list[Callable[[PrefectFuture[R]], None]] | None = None

    @property
    def task_run_id(self) -> UUID:
        """The id of the task run; the same however often the grid runs it."""
        return self._group.run_id(self._index)

    @property
    def index(self) -> int:
        """Which of its group's calls it is."""
        return self._index

    @property
    def group(self) -> Group[HTCGridFuture[Any]]:
        """The call to ``submit`` or ``map`` that it comes from."""
        return self._group

    def details(self) -> StateDetails:
        """Of which run its states are."""
        return self._group.details(self._index)

    @property
    def state(self) -> State[R]:
        """The final state, or Pending."""
        return self._final_state or Pending(state_details=self.details())

    @property
    def _final_state(self) -> State[R] | None:  # type: ignore[override]  # Prefect's waiting reads it
        if self._state is None and self._settled is not None:
            self._state = self._group.state(self._index, self._settled)
        return self._state

    def done(self) -> bool:
        """Whether the task run has ended."""
        return self._settled is not None

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the task run has ended, or ``timeout`` seconds have passed."""
        self._ended_within(timeout)
        raise_if_flow_run_suspension_requested()

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> R:
        """The task's result.

        Args:
            timeout: seconds to wait for it.
            raise_on_failure: False to return the exception.

        Raises:
            TimeoutError: the task run has not ended in time.
            Exception: what the task raised; CrashedRun or CancelledRun for one that was lost or cancelled.
        """
        if not self._ended_within(timeout):
            raise_if_flow_run_suspension_requested()
            raise TimeoutError(f"Task run {self.task_run_id} did not complete within {timeout} seconds")
        raise_if_flow_run_suspension_requested()
        if self._state is None and isinstance(self._settled, bytes) and self._group.is_bare:
            with contextlib.suppress(Exception):  # whatever loading it raises: its state says so
                bare: R = self._group.value(self._settled)  # without a State around it
                return bare
        state = self._final_state
        assert state is not None, "it has ended"
        result: R = state.result(raise_on_failure=raise_on_failure, _sync=True)  # type: ignore[call-overload]
        return result

    def cancel(self) -> bool:
        """End the task run as Cancelled, unless it has ended.

        A task that waits is never started. One that runs goes on until its session is cancelled, which happens when
        all futures of the session are; its result is dropped.

        Returns:
            Whether this call ended it.
        """
        return self._group.cancel([self])

    def cancelled(self) -> bool:
        """Whether the task run ended as Cancelled."""
        return isinstance(self._settled, State) and self._settled.is_cancelled()

    def add_done_callback(self, fn: Callable[[PrefectFuture[R]], None]) -> None:
        """Call ``fn`` with this future when the task run has ended, in whatever thread notices it."""
        with self._group.condition:
            if self._settled is None:
                self._callbacks = [*(self._callbacks or ()), fn]
                return
        fn(self)

    _add_prefect_done_callback = add_done_callback

    def settle(self, settled: bytes | State[Any]) -> list[Callable[[PrefectFuture[R]], None]] | None:
        """Note the end, once; called with the condition's lock; the caller notifies and calls the callbacks.

        Returns:
            The callbacks; None if the task run had ended before.
        """
        if self._settled is not None:
            return None
        self._settled = settled
        callbacks, self._callbacks = self._callbacks or [], None
        return callbacks

    def _ended_within(self, timeout: float | None) -> bool:
        if self._settled is not None:
            return True
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._group.condition:
            while self._settled is None:
                left = WAKE_EVERY_SECONDS if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    return False
                self._group.condition.wait(min(left, WAKE_EVERY_SECONDS))
        return True

    def __repr__(self) -> str:
        return f"<HTCGridFuture {self._group.name}[{self._index}] {'done' if self.done() else 'pending'}>"
