"""Asking several regions at the same time; one that does not answer in time is silent, and holds up nobody."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, Protocol, TypeVar

from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.gateway.regions.region import Region

T = TypeVar("T")

ASK_SECONDS = 10.0  # after the first one's answer, and once more as long as that took: two tries to connect
_log = logging.getLogger(__name__)


@dataclass
class Answers(Generic[T]):
    """What regions said, by their names in the order in which they were asked.

    Attributes:
        silent: of those that did not answer, why.
    """

    found: dict[str, T] = field(default_factory=dict)
    silent: dict[str, GridUnavailable] = field(default_factory=dict)

    def some(self) -> dict[str, T]:
        """What was found, of one region at least.

        Raises:
            GridUnavailable: none answered.
        """
        if not self.found:
            raise GridUnavailable("; ".join(map(str, self.silent.values())) or "no region is named")
        return self.found

    def all(self, what: str) -> dict[str, T]:
        """What was found, of all regions.

        Args:
            what: was not done, since one is silent.

        Raises:
            GridUnavailable: one did not answer.
        """
        if self.silent:
            raise GridUnavailable(f"{what}: {'; '.join(map(str, self.silent.values()))}")
        return self.found

    def warned(self, what: str) -> dict[str, T]:
        """As ``some``; the log tells of those that are silent.

        Args:
            what: is missing in the answer, of such a region.
        """
        found = self.some()
        for why in self.silent.values():
            _log.warning("%s, and %s", why, what)
        return found


class Asking(Protocol):
    """Has each region do the same."""

    def __call__(self, regions: Sequence[Region], ask: Callable[[Region, InProcessGateway], T]) -> Answers[T]:
        """What they answer. What one raises but for GridUnavailable is raised, once all have answered."""


def at_once(regions: Sequence[Region], ask: Callable[[Region, InProcessGateway], T]) -> Answers[T]:
    """In a thread for each."""
    if len(regions) < 2:
        return in_turn(regions, ask)
    told: queue.SimpleQueue[tuple[str, T | None, BaseException | None]] = queue.SimpleQueue()

    def tell(region: Region) -> None:
        try:
            told.put((region.name, region.call(partial(ask, region)), None))
        except BaseException as error:  # noqa: BLE001 - raised by whoever asked
            told.put((region.name, None, error))

    for region in regions:
        run = copy_context().run
        threading.Thread(target=run, args=(tell, region), name=f"htcgrid-{region.name}", daemon=True).start()
    return _sorted(regions, _gathered(regions, told))


def _gathered(
    regions: Sequence[Region], told: queue.SimpleQueue[tuple[str, T | None, BaseException | None]]
) -> dict[str, tuple[T | None, BaseException | None]]:
    answers: dict[str, tuple[T | None, BaseException | None]] = {}
    began = time.monotonic()
    until: float | None = None
    while len(answers) < len(regions):
        try:
            name, found, error = told.get(timeout=None if until is None else max(0.0, until - time.monotonic()))
        except queue.Empty:
            break
        answers[name] = found, error
        if until is None:  # what is large takes longer, everywhere
            until = 2 * time.monotonic() - began + ASK_SECONDS
    for region in regions:
        if region.name not in answers:
            why = f"no answer for {(until or began) - began:.0f} s, and another has answered"
            region.failed(why)
            answers[region.name] = None, GridUnavailable(f"region {region.name}: {why}")
    return answers


def in_turn(regions: Sequence[Region], ask: Callable[[Region, InProcessGateway], T]) -> Answers[T]:
    """One after the other, for as long as each takes."""
    answers: dict[str, tuple[T | None, BaseException | None]] = {}
    for region in regions:
        try:
            answers[region.name] = region.call(partial(ask, region)), None
        except Exception as error:  # noqa: BLE001 - raised below
            answers[region.name] = None, error
    return _sorted(regions, answers)


def _sorted(regions: Sequence[Region], told: dict[str, tuple[T | None, BaseException | None]]) -> Answers[T]:
    answers = Answers[T]()
    for region in regions:
        found, error = told[region.name]
        if isinstance(error, GridUnavailable):
            answers.silent[region.name] = error
        elif error is not None:
            raise error
        else:
            answers.found[region.name] = found  # type: ignore[assignment]  # None is an answer like any other
    return answers
