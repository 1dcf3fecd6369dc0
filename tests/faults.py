"""Planes whose ports fail on purpose, at a call of the test's choosing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from htcgrid_core.ports.plane import Plane


class Crash(BaseException):
    """The process died here: nothing in it catches this."""


class Watched:
    """A port that asks ``around`` at each call."""

    def __init__(self, port: Any, around: Callable[[str, Callable[[], Any]], Any]) -> None:
        self._port, self._around = port, around

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._around(name, lambda: method(*args, **kwargs))

        return call


def watched(plane: Plane, around: Callable[[str, Callable[[], Any]], Any]) -> Plane:
    """The plane with every I/O port watched."""
    return replace(
        plane,
        store=Watched(plane.store, around),
        queue=Watched(plane.queue, around),
        blobs=Watched(plane.blobs, around),
        doorbell=Watched(plane.doorbell, around),
    )


def failing_at(plane: Plane, number: int, error: type[BaseException], *, applied: bool, times: int = 1) -> Plane:
    """A plane whose ``number``-th call, counted from 1, and the following ``times - 1`` raise.

    Args:
        applied: whether the call took effect all the same, and only its reply was lost.
    """
    calls = 0

    def around(name: str, call: Callable[[], Any]) -> Any:
        nonlocal calls
        calls += 1
        if not number <= calls < number + times:
            return call()
        if applied:
            call()
        raise error(f"at call {calls}: {name}")

    return watched(plane, around)


def calls_of(plane: Plane, action: Callable[[Plane], object]) -> list[str]:
    """The names of the port calls that an action makes."""
    names: list[str] = []

    def around(name: str, call: Callable[[], Any]) -> Any:
        names.append(name)
        return call()

    action(watched(plane, around))
    return names
