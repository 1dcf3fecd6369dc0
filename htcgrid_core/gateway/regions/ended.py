"""Ends of sessions of several regions: a cursor of each, and rounds that have one of each in them."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from htcgrid_core.domain.ended import EndedPage
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.gateway.regions.asking import Asking
from htcgrid_core.gateway.regions.region import Region


class _Phase(IntEnum):
    """How far a region is in a round of all: one of its own must lie within."""

    BEFORE = 0  # in one that began earlier
    WITHIN = 1
    OVER = 2


class EndedCursor:
    """Where a reader is in each region.

    Args:
        after: the text of an earlier one, or a time to begin with.

    Raises:
        InvalidInput: it is no such text.
    """

    def __init__(self, after: str | float, regions: Sequence[Region]) -> None:
        self._regions = list(regions)
        self._at: dict[str, str | float] = {}
        self._phase: dict[str, _Phase] = {}
        told: dict[str, Any] = {}
        if isinstance(after, str):
            try:
                told = json.loads(after)
                self._at = {name: at for name, (at, _) in told.items() if isinstance(at, str | float | int)}
                self._phase = {name: _Phase(phase) for name, (_, phase) in told.items()}
            except (ValueError, TypeError, AttributeError) as error:
                raise InvalidInput(f"{after[:100]!r} is not a position among ends of sessions in regions") from error
        for region in self._regions:  # one that has joined since begins now
            self._at.setdefault(region.name, time.time() if told else after)
            self._phase.setdefault(region.name, _Phase.BEFORE if told else _Phase.WITHIN)

    def page(self, ask: Asking, limit: int) -> EndedPage:
        """The next page of each region that answers; the others go on later from where they were.

        Raises:
            GridUnavailable: none answers.
        """
        share = max(1, limit // len(self._regions))
        answers = ask(self._regions, lambda region, gateway: gateway.ended(self._at[region.name], share))
        pages = answers.warned("its ends of sessions are told later")
        for name, page in pages.items():
            self._at[name] = page.cursor
            if page.round_over and self._phase[name] is not _Phase.OVER:
                self._phase[name] = _Phase(self._phase[name] + 1)
        is_over = all(self._phase[region.name] is _Phase.OVER for region in self._regions)
        if is_over:
            self._phase |= {
                region.name: _Phase.WITHIN if region.name in pages and pages[region.name].round_over else _Phase.BEFORE
                for region in self._regions
            }
        return EndedPage(
            ends=tuple(end for page in pages.values() for end in page.ends),
            cursor=json.dumps({name: [at, self._phase[name]] for name, at in self._at.items()}),
            more=any(page.more for page in pages.values()),
            round_over=is_over,
        )
