"""SessionEvents: what becomes of sessions, as CloudEvents, for those who follow a grid."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from typing import Any

from htcgrid_core.client.ended import EndedSessions
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session import SessionRecord, tenant_of
from htcgrid_core.domain.session_event import event_of, submitted_event_of
from htcgrid_core.gateway.protocol import Gateway

FOLLOWER = "events"  # of whose ids each end has one
LATE_SECONDS = 60.0  # by which a submitter's clock may be behind, and its submission still be told


class SessionEvents:
    """Sessions that are submitted, and that end: each told at least once, under one id.

    An end is told whatever clocks say. A submission is not if its submitter's clock is more than a minute behind.

    Args:
        since: a time (seconds since the epoch) to begin at; None for now.
        position: where an earlier one had come to, instead.
        states, labels, tenant: as for ``grid.ended``; with states, submissions are not told.

    Raises:
        InvalidInput: that is no position.
    """

    def __init__(
        self,
        gateway: Gateway,
        *,
        since: float | None = None,
        position: str | None = None,
        states: Collection[SessionState] = (),
        labels: Mapping[str, str] | None = None,
        tenant: str | None = None,
    ) -> None:
        self._gateway = gateway
        self._labels, self._tenant = dict(labels or {}), tenant
        self._tells_submissions = not states
        self._until = time.time() if since is None else since  # submissions before it were told, or are not wanted
        self._begins_at = self._until
        self._seen: dict[str, float] = {}  # submitted lately, and when
        ended = None if position is None else self._restore(position)
        self._ended = EndedSessions(
            gateway, states=states, labels=labels, tenant=tenant, since=since if ended is None else None, position=ended
        )

    @property
    def position(self) -> str:
        """Text from which another one goes on, in another process."""
        found = {"ended": self._ended.position, "until": self._until, "from": self._begins_at, "seen": self._seen}
        return json.dumps(found)

    def _restore(self, position: str) -> str:
        try:
            found = json.loads(position)
            self._until, self._begins_at = float(found["until"]), float(found["from"])
            self._seen = {str(session_id): float(at) for session_id, at in found["seen"].items()}
            return str(found["ended"])
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise InvalidInput(f"{position[:100]!r} is not a position among a grid's events") from error

    def page(self) -> tuple[list[dict[str, Any]], bool]:
        """Some events that came since, submissions first, and whether there may be more at once.

        Raises:
            GridUnavailable: none was passed over; ask again later.
        """
        submitted = self._submitted() if self._tells_submissions else []
        ended, more = self._ended.records()
        return [*map(submitted_event_of, submitted), *(event_of(record, FOLLOWER, ()) for record in ended)], more

    def _submitted(self) -> list[SessionRecord]:
        """Sessions that were submitted since the last look, oldest first."""
        found = list[SessionRecord]()
        before: float | None = None
        look_back = max(self._begins_at, self._until - LATE_SECONDS)
        while True:
            page = self._gateway.sessions(limit=limits.PROGRESS_BATCH, before=before)
            found += [record for record in page if record.submitted_at >= look_back]
            if len(page) < limits.PROGRESS_BATCH or page[-1].submitted_at < look_back:
                break
            before = page[-1].submitted_at
        new = [record for record in found if record.session_id not in self._seen]
        self._until = max([self._until, *(record.submitted_at for record in found)])
        kept = self._until - LATE_SECONDS
        self._seen = {record.session_id: record.submitted_at for record in found if record.submitted_at >= kept}
        return sorted(filter(self._matches, new), key=lambda record: record.submitted_at)

    def _matches(self, record: SessionRecord) -> bool:
        mine = self._tenant is None or tenant_of(record.session_id) == self._tenant
        return mine and self._labels.items() <= record.labels.items()
