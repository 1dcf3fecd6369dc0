"""Faults at port calls: latency, pauses, crashes before and after, refusals, and replies that are lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.testing.simulator.world import Crash, World


@dataclass
class FaultRates:
    """Probabilities of each fault at one port call.

    Attributes:
        crash: the actor dies, half of the time after the call was applied.
        refused: the call is not applied and says so (throttling, lost connection).
        reply_lost: the call is applied, and the caller is told that it may not have been.
        pause: the actor stops, for up to ``pause_seconds``.
        message_lost, message_doubled: of a message sent.
        skew_seconds: each actor's wall clock is off by up to so much.
    """

    crash: float = 0.003
    refused: float = 0.02
    reply_lost: float = 0.02
    pause: float = 0.006
    pause_seconds: float = 90.0
    message_lost: float = 0.05
    message_doubled: float = 0.05
    ring_lost: float = 0.1
    skew_seconds: float = 0.0
    latency_seconds: float = 0.010

    def calm(self) -> None:
        """No more faults from now on."""
        self.crash = self.refused = self.reply_lost = self.pause = 0.0
        self.message_lost = self.message_doubled = self.ring_lost = 0.0


class FaultyPort:
    """A port whose every method may fail as the rates say; each call is one step of the simulation."""

    def __init__(self, world: World, rates: FaultRates, name: str, port: Any, who: str) -> None:
        self._world = world
        self._rates = rates
        self._name = name
        self._port = port
        self._who = who

    def __getattr__(self, method: str) -> Callable[..., Any]:
        inner = getattr(self._port, method)

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._call(method, inner, args, kwargs)

        return call

    def _call(self, method: str, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        world, rates, rng = self._world, self._rates, self._world.rng
        label = f"{self._name}.{method}"
        world.pause(rng.expovariate(1.0 / rates.latency_seconds))
        if rng.random() < rates.pause:
            seconds = rng.uniform(0.0, rates.pause_seconds)
            world.note(self._who, f"pauses {seconds:.1f} s before {label}")
            world.pause(seconds)
        if rng.random() < rates.crash / 2:
            raise Crash
        if rng.random() < rates.refused:
            world.note(self._who, f"{label} refused")
            raise GridUnavailable(f"{label} was refused")
        try:
            result = inner(*args, **kwargs)
        except Exception as error:
            world.note(self._who, f"{label} raised {type(error).__name__}")
            raise
        world.note(self._who, f"{label}{_shown(args)}")
        if rng.random() < rates.crash / 2:
            raise Crash
        if rng.random() < rates.reply_lost:
            world.note(self._who, f"{label}: reply lost")
            raise GridUnavailable(f"{label}: no reply")
        return result


def _shown(args: tuple[Any, ...]) -> str:
    return "(" + ", ".join(str(arg) if isinstance(arg, str | int | float) else type(arg).__name__ for arg in args) + ")"
