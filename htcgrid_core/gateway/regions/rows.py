"""Rows of sessions, from the region that each id names; ids that name none are looked for in all."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import GridUnavailable, InvalidInput, SessionNotFound
from htcgrid_core.domain.lifecycle import SESSION, SessionState
from htcgrid_core.domain.session import Counters, SessionRecord
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.gateway.regions.asking import Answers, Asking
from htcgrid_core.gateway.regions.names import in_region, region_of
from htcgrid_core.gateway.regions.region import Region

T = TypeVar("T")

ROWS_KEPT = 2000  # of live sessions as they were last seen, for when their region does not answer
PLACES_KEPT = 10_000


class Rows:
    """May be used from many threads.

    Args:
        regions: all of them, in the order of the URL.
        url: for messages.
    """

    def __init__(self, regions: Sequence[Region], ask: Asking, url: str) -> None:
        self._regions = {region.name: region for region in regions}
        self._kept = [region for region in regions if not region.is_lost]
        self._ask = ask
        self._url = url
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, SessionRecord] = OrderedDict()
        self._held: OrderedDict[str, tuple[str, str]] = OrderedDict()  # of ids without a region: it, and the id there

    # One session

    def at(self, session_id: str) -> tuple[Region, str]:
        """The region of a session, and its id there.

        Raises:
            SessionNotFound: there is none.
            GridUnavailable: it is in none that answers, and may be in one that does not.
            InvalidInput: it names a region that the URL does not.
        """
        name = region_of(session_id, self._regions)
        if name is not None:
            return self._named(session_id, name), session_id
        with self._lock:
            known = self._held.get(session_id)
        if known is None:
            self._look_everywhere([session_id])
            with self._lock:
                known = self._held.get(session_id)
        if known is None:
            raise SessionNotFound(session_id)
        return self._regions[known[0]], known[1]

    def _named(self, session_id: str, name: str) -> Region:
        if name not in self._regions:
            raise InvalidInput(
                f"session {session_id} is in {name}, which {self._url} does not name: add it, or `region={name}`"
            )
        return self._regions[name]

    def call(self, session_id: str, ask: Callable[[InProcessGateway, str], T]) -> T:
        """What the session's region answers, asked with its id there."""
        region, there = self.at(session_id)
        return region.call(lambda gateway: ask(gateway, there))

    def session(self, session_id: str) -> SessionRecord:
        """One session's row, whose id names its region if it was submitted so."""
        return self._remembered(self.call(session_id, lambda gateway, there: gateway.session(there)))

    # Many sessions

    def progress(self, session_ids: Sequence[str]) -> list[SessionRecord]:
        """Rows in this order, each under the id that was asked for; unknown ones are left out.

        Among those of regions that answer, one of a region that does not is as it was last seen, or, if it never was,
        as it is before anything is known of it: whoever waits for several must not stop for it.

        Raises:
            GridUnavailable: no region that is asked answers; or one does not, and may hold a session whose id names no
                region.
            InvalidInput: more than a hundred.
        """
        if len(session_ids) > limits.PROGRESS_BATCH:
            raise InvalidInput(f"progress of {len(session_ids)} sessions in one call: ask for {limits.PROGRESS_BATCH}")
        everywhere = [each for each in session_ids if region_of(each, self._regions) is None]
        rows = self._look_everywhere(everywhere) if everywhere else {}
        named = [each for each in session_ids if region_of(each, self._regions) in self._regions]
        rows |= self._look_named(named) if named else {}
        return [rows[each] for each in session_ids if each in rows]

    def _look_named(self, session_ids: Sequence[str]) -> dict[str, SessionRecord]:
        by_region: dict[str, list[str]] = {}
        for each in session_ids:
            by_region.setdefault(region_of(each, self._regions) or "", []).append(each)
        wanted = [self._regions[name] for name in by_region]
        answers = self._ask(wanted, lambda region, gateway: gateway.progress(by_region[region.name]))
        rows = {row.session_id: self._remembered(row) for found in answers.some().values() for row in found}
        for name, why in answers.silent.items():
            rows |= {each: self._last_seen(each, why) for each in by_region[name]}
        return rows

    def _look_everywhere(self, session_ids: Sequence[str]) -> dict[str, SessionRecord]:
        """Rows of ids that name no region, under these ids; where they are is noted."""

        def look(region: Region, gateway: InProcessGateway) -> dict[str, SessionRecord]:
            found: dict[str, SessionRecord] = {}
            for ids in ([in_region(each, region.name) for each in session_ids], list(session_ids)):
                rows = {row.session_id: row for row in gateway.progress(ids)}
                found |= {each: rows[there] for each, there in zip(session_ids, ids, strict=True) if there in rows}
            return found

        answers: Answers[dict[str, SessionRecord]] = self._ask(self._kept, look)
        rows: dict[str, SessionRecord] = {}
        for name, found in answers.found.items():
            for each, row in found.items():
                rows.setdefault(each, replace(row, session_id=each))
                self._note(each, name, row.session_id)
        missing = [each for each in session_ids if each not in rows]
        if missing and answers.silent:
            why = "; ".join(map(str, answers.silent.values()))
            raise GridUnavailable(f"session {missing[0]} is in no region that answers, and may be in another: {why}")
        return rows

    def _note(self, session_id: str, region: str, there: str) -> None:
        with self._lock:
            self._held.setdefault(session_id, (region, there))
            if len(self._held) > PLACES_KEPT:
                self._held.popitem(last=False)

    def _remembered(self, row: SessionRecord) -> SessionRecord:
        with self._lock:
            self._seen.pop(row.session_id, None)
            if not row.ended:
                self._seen[row.session_id] = row
                if len(self._seen) > ROWS_KEPT:
                    self._seen.popitem(last=False)
        return row

    def _last_seen(self, session_id: str, why: GridUnavailable) -> SessionRecord:
        with self._lock:
            row = self._seen.get(session_id)
        return row or SessionRecord(
            session_id, SESSION.initial, "", "", Counters(), submitted_at=0.0, updated_at=0.0, reason=str(why)
        )

    def newest(
        self, states: Sequence[SessionState], limit: int, before: float | None
    ) -> tuple[list[SessionRecord], dict[str, GridUnavailable]]:
        """Rows of all regions together, newest first; and the regions whose rows are missing."""
        answers = self._ask(
            self._kept,
            lambda _, gateway: gateway.sessions(states=states, limit=limit, before=before),
        )
        found = answers.warned("its sessions are not in the list")
        rows = sorted(
            (row for rows in found.values() for row in rows),
            key=lambda row: (row.submitted_at, row.session_id),
            reverse=True,
        )
        return rows[:limit], answers.silent
