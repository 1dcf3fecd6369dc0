"""Waiting for news of sessions in several regions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from htcgrid_core.domain.errors import GridUnavailable
from htcgrid_core.gateway.bell_waiter import BellWaiter
from htcgrid_core.gateway.regions.names import region_of
from htcgrid_core.gateway.regions.region import Region

TURN_SECONDS = 0.25  # of each region's bell, where news of several are waited for


class RegionsWaiter:
    """See ``gateway.protocol.Waiter``. Each region's bell is borrowed when it is first listened to."""

    knows_the_end = False  # a bell may have rung before it was borrowed

    def __init__(self, regions: Sequence[Region]) -> None:
        self._regions = {region.name: region for region in regions}
        self._waiters: dict[str, BellWaiter] = {}
        self._open = ExitStack()
        self._turn = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def wait(self, timeout_seconds: float | None, session_ids: Collection[str] = ()) -> None:
        """Wait for news of these sessions' regions: of several, for one after the other, a moment each.

        Raises:
            GridUnavailable: there is nothing to wait for in a region that answers.
        """
        named = [region_of(session_id, self._regions) for session_id in session_ids]
        is_anywhere = not named or None in named
        wanted = [name for name in self._regions if is_anywhere or name in named]
        silent: GridUnavailable | None = None
        for _ in wanted:
            self._turn += 1
            name = wanted[self._turn % len(wanted)]
            ids = [each for each in session_ids if region_of(each, self._regions) in (name, None)]
            turn = timeout_seconds if len(wanted) == 1 else min(TURN_SECONDS, timeout_seconds or TURN_SECONDS)
            try:
                self._of(name).wait(turn, ids)
            except GridUnavailable as error:
                silent = error
            else:
                return
        if silent is not None:
            raise silent

    def _of(self, name: str) -> BellWaiter:
        if name not in self._waiters:
            self._waiters[name] = self._open.enter_context(self._regions[name].opened().waiter())
        return self._waiters[name]

    def wait_for_end(self, timeout_seconds: float | None, session_id: str) -> None:
        """A bell does not say of what it rings."""
        self.wait(timeout_seconds, (session_id,))

    def interrupt(self) -> None:
        """Let ``wait`` return: for other threads."""
        for waiter in list(self._waiters.values()):
            waiter.interrupt()
