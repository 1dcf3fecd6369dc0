"""EndedSessions: hearing of each session that ends."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Collection, Iterable, Mapping

from htcgrid_core.client.progress import Progress, progress_of
from htcgrid_core.client.session import Session
from htcgrid_core.domain import limits
from htcgrid_core.domain.ended import End, EndedPage
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.session import SessionRecord, tenant_of
from htcgrid_core.gateway.protocol import Gateway

TOLD_KEPT = 2000  # newest ends that a position names, so that it stays below Airflow's 64 KB


class EndedSessions:
    """Sessions that end, each told at least once, however many they are and whatever clocks say.

    Not for several threads at once. ``grid.ended`` makes one.

    Args:
        states, labels, tenant: only sessions that ended so, have all of these labels, are this tenant's.
        since: a time (seconds since the epoch); those that ended after it are told first.
        position: where an earlier one had come to, instead. Without both, it begins now.

    Raises:
        InvalidInput: that is no position.
    """

    __module__ = "htcgrid_core"

    def __init__(
        self,
        gateway: Gateway,
        *,
        states: Collection[SessionState] = (),
        labels: Mapping[str, str] | None = None,
        tenant: str | None = None,
        since: float | None = None,
        position: str | None = None,
    ) -> None:
        self._gateway = gateway
        self._states = frozenset(states)
        self._labels = dict(labels or {})
        self._tenant = tenant
        self._since = since  # until the first round is over; then whatever comes is new
        self._round: set[str] = set()  # what may come again: ends of this round, and of the one before
        self._before: set[str] = set()
        self._told: list[str] = []
        self._after: str | float = time.time() if since is None else since
        if position is not None:
            self._restore(position)
        elif since is None:
            self._pass_by_what_has_ended()

    @property
    def position(self) -> str:
        """Text from which another one goes on, in another process: with what was not told by any page yet.

        The newest 2,000 that were told are named in it; more than those may be told again.
        """
        return json.dumps({"after": self._after, "since": self._since, "told": self._told[-TOLD_KEPT:]})

    def _restore(self, position: str) -> None:
        try:
            found = json.loads(position)
            self._after, self._since, self._told = found["after"], found["since"], list(found["told"])
        except (ValueError, TypeError, LookupError) as error:
            raise InvalidInput(f"{position[:100]!r} is not a position among sessions that have ended") from error
        self._round = set(self._told)

    def page(self) -> tuple[list[tuple[Session, Progress]], bool]:
        """Some that have ended since, and whether there may be more at once: a call or two, however many live.

        Raises:
            GridUnavailable: none was passed over; ask again later.
            IncompatibleGrid: the grid, made by an earlier version, cannot tell; the message says what to do.
        """
        records, more = self.records()
        return [(Session(self._gateway, record), progress_of(record)) for record in records], more

    def records(self) -> tuple[list[SessionRecord], bool]:
        """A page as rows; for ``htcgrid events``."""
        page = self._gateway.ended(self._after, limits.PROGRESS_BATCH)
        keys = {_key(end): end.session_id for end in page.ends}
        new = {key: one for key, one in keys.items() if key not in self._round and key not in self._before}
        records = self._gateway.progress([*dict.fromkeys(new.values())]) if new else []
        matching = {record.session_id: record for record in records if self._matches(record)}
        self._told += [key for key, session_id in new.items() if session_id in matching]
        self._pass(page, keys)
        return list(matching.values()), page.more

    def _pass_by_what_has_ended(self) -> None:
        more = True
        while more:
            page = self._gateway.ended(self._after, limits.PROGRESS_BATCH)
            self._pass(page, map(_key, page.ends))
            more = page.more

    def _pass(self, page: EndedPage, keys: Iterable[str]) -> None:
        self._round.update(keys)
        self._after = page.cursor
        if page.round_over:
            self._since, self._before, self._round = None, self._round, set()
            self._told = [key for key in self._told if key in self._before]

    def _matches(self, record: SessionRecord) -> bool:
        return (
            record.ended
            and (not self._states or record.state in self._states)
            and (self._tenant is None or tenant_of(record.session_id) == self._tenant)
            and (self._since is None or (record.ended_at or 0.0) > self._since)
            and self._labels.items() <= record.labels.items()
        )


def _key(end: End) -> str:
    """A few characters for an end: of an id that is used again, each has one of its own."""
    return hashlib.blake2b(f"{end.session_id} {end.at!r}".encode(), digest_size=8).hexdigest()
