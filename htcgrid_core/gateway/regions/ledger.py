"""Who did what in several regions, and what it cost."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from htcgrid_core.domain.audit import AuditEntry, AuditPage
from htcgrid_core.domain.costs import CostReport, CostRow, Estimate
from htcgrid_core.domain.errors import InvalidInput, NotOffered
from htcgrid_core.gateway.in_process import InProcessGateway
from htcgrid_core.gateway.regions.asking import Asking
from htcgrid_core.gateway.regions.names import in_region, region_of
from htcgrid_core.gateway.regions.region import Region


class Ledger:
    """Of the regions that are not given up. May be used from many threads."""

    def __init__(self, regions: Sequence[Region], ask: Asking) -> None:
        self._regions = {region.name: region for region in regions}
        self._kept = [region for region in regions if not region.is_lost]
        self._ask = ask

    def audit(self, session_id: str) -> list[AuditEntry]:
        """Who did what to a session, which may have been deleted, oldest first."""
        name = region_of(session_id, self._regions)
        if name in self._regions:
            return self._regions[str(name)].call(lambda gateway: gateway.audit(session_id))

        def look(region: Region, gateway: InProcessGateway) -> list[AuditEntry]:
            return gateway.audit(session_id) + gateway.audit(in_region(session_id, region.name))

        found = self._ask(self._kept, look).warned("its audit is not looked into").values()
        return sorted((entry for entries in found for entry in entries), key=lambda entry: entry.at)

    def page(self, since: float, until: float, limit: int, cursor: str | None) -> AuditPage:
        """Entries of all regions, newest first.

        Raises:
            GridUnavailable: a region does not answer: an audit with gaps would be none.
            InvalidInput: the cursor is none of ours.
        """
        last, told = _position(cursor)
        end = until if last is None else min(until, math.nextafter(last, math.inf))

        def look(_: Region, gateway: InProcessGateway) -> tuple[list[AuditEntry], bool]:
            entries: list[AuditEntry] = []
            page = gateway.audit_page(since, end, limit + told)
            entries += page.entries
            while page.cursor is not None and len(_whole(entries)) < limit + told:
                page = gateway.audit_page(since, end, limit + told, page.cursor)
                entries += page.entries
            if page.cursor is None:
                return entries, False
            return _whole(entries), True

        found = self._ask(self._kept, look).all("the audit is not whole")
        entries = sorted(
            (entry for some, _ in found.values() for entry in some),
            key=lambda entry: (-entry.at, entry.session_id, entry.event, entry.actor, entry.detail),
        )
        page, rest = entries[told : told + limit], entries[told + limit :]
        if not page or not (rest or any(more for _, more in found.values())):
            return AuditPage(page, None)
        at = page[-1].at
        same = sum(entry.at == at for entry in entries[: told + limit])
        return AuditPage(page, json.dumps([at, same]))

    def export(self) -> Iterator[bytes]:
        """There is no key over all of them.

        Raises:
            NotOffered: always.
        """
        raise NotOffered("an export is signed by one region's key: export each region's, with region=R in the URL")

    def is_genuine(self, key_id: str, digest: str, mac: str) -> bool:
        """Whether any region has exported lines with this SHA-256.

        Raises:
            InvalidInput: none of those that answer has this key (any more).
            GridUnavailable: and one does not answer.
        """

        def look(_: Region, gateway: InProcessGateway) -> bool | InvalidInput:
            try:
                return gateway.is_genuine_audit(key_id, digest, mac)
            except InvalidInput as error:
                return error

        answers = self._ask(self._kept, look)
        known = [found for found in answers.found.values() if isinstance(found, bool)]
        if known:
            return any(known)
        answers.all("the key is not in a region that answers")
        raise next(found for found in answers.found.values() if isinstance(found, InvalidInput))

    def costs(self, first_day: str | None, last_day: str | None, by: str) -> CostReport:
        """Daily totals of the regions that answer, together."""
        answers = self._ask(self._kept, lambda _, gateway: gateway.costs(first_day, last_day, by))
        reports = list(answers.warned("its costs are not counted").values())
        rows: dict[tuple[str, str], CostRow] = {}
        for row in (row for report in reports for row in report.rows):
            known = rows.get((row.day, row.key))
            rows[row.day, row.key] = row if known is None else _sum(known, row)
        days = sorted({day for day, _ in rows}, reverse=True)
        ordered = [rows[key] for day in days for key in rows if key[0] == day]
        return replace(reports[0], rows=tuple(ordered))

    def estimate(self, function: str, tasks: int, pool: str, tenant: str | None) -> Estimate:
        """What a session would cost, by the region that knows most sessions of the function."""
        answers = self._ask(self._kept, lambda _, gateway: gateway.estimate(function, tasks, pool=pool, tenant=tenant))
        return max(answers.some().values(), key=lambda estimate: estimate.sessions)


def _whole(entries: Sequence[AuditEntry]) -> list[AuditEntry]:
    """Those of a beginning but for its last moment, of which there may be more."""
    return [entry for entry in entries if entry.at > entries[-1].at]


def _position(cursor: str | None) -> tuple[float | None, int]:
    """The time of the last entry that was told, and how many of that time were."""
    if cursor is None:
        return None, 0
    try:
        at, told = json.loads(cursor)
        return float(at), int(told)
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"{cursor[:100]!r} is not a position in the audit of several regions") from error


def _sum(one: CostRow, other: CostRow) -> CostRow:
    return replace(
        one,
        sessions=one.sessions + other.sessions,
        tasks=one.tasks + other.tasks,
        task_seconds=one.task_seconds + other.task_seconds,
        cost=one.cost + other.cost,
    )
