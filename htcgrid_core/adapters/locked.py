"""Locks that are free again whatever is raised while they are held, at whatever moment, and in a forked child.

A ``with`` over a lock is safe from a KeyboardInterrupt, which never comes between its block and its end; a debugger or
a profiler may raise there all the same. A child has none of the threads that held a lock of its parent's.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from functools import wraps
from threading import RLock
from typing import Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class WithLock(Protocol):
    """What has a lock of its own."""

    _lock: RLock


Owner = TypeVar("Owner", bound=WithLock)


_locks: weakref.WeakSet[RLock] = weakref.WeakSet()


def new_lock() -> RLock:
    """A lock that one thread may hold more than once, and that is free in a forked child."""
    lock = RLock()
    _locks.add(lock)
    return lock


def _free_in_child() -> None:
    for lock in list(_locks):
        lock._at_fork_reinit()  # type: ignore[attr-defined]  # as threading does with its own


os.register_at_fork(after_in_child=_free_in_child)


def is_mine(lock: RLock) -> bool:
    """Whether this thread holds a lock."""
    return lock._is_owned()  # type: ignore[attr-defined,no-any-return]  # as threading.Condition asks


def holding(lock: RLock, work: Callable[[], T]) -> T:
    """What ``work`` returns, called with a lock held."""
    if is_mine(lock):
        return work()
    try:
        with lock:
            return work()
    except BaseException:
        if is_mine(lock):  # it was raised at the very end of the block
            lock.release()
        raise


def locked(method: Callable[Concatenate[Owner, P], T]) -> Callable[Concatenate[Owner, P], T]:
    """A method that is called with its object's lock held."""

    @wraps(method)
    def call(self: Owner, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return holding(self._lock, lambda: method(self, *args, **kwargs))

    return call
