"""Patience of one who waits in an event loop."""

from __future__ import annotations

import asyncio
import logging
import time

from htcgrid_core.domain.patience import Patience

_log = logging.getLogger(__name__)


class AsyncPatience(Patience):
    """As ``Patience``, whose pauses let others run."""

    def __init__(self) -> None:
        self._pause = 0.0
        super().__init__(monotonic=time.monotonic, sleep=self._note, say=_log.warning)

    def _note(self, seconds: float) -> None:
        self._pause = seconds

    async def rest(self, at_most: float | None = None) -> None:
        """Let some time pass before the next try; see ``Patience.pause``."""
        self.pause(at_most)
        await asyncio.sleep(self._pause)
