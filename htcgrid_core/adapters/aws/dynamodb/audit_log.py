"""The audit log on DynamoDB: an item for each entry, put with the write that it tells of, and never changed.

Entries are found by their session, and by their time through the index of sessions' times, where they are under other
keys of it than sessions are: eight, so that no single one takes all writes, and eight more for ends, which costs are
made of.
"""

from __future__ import annotations

import json
import secrets
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Any

from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.adapters.aws.dynamodb.schema import (
    BY_TIME_INDEX,
    BY_TIME_KEY,
    PARTITION,
    SORT,
    SUBMITTED_AT,
    TTL,
)
from htcgrid_core.adapters.aws.dynamodb.table import BATCH_READ, Table
from htcgrid_core.adapters.aws.dynamodb.writes import ConditionFailed, Write
from htcgrid_core.domain import limits
from htcgrid_core.domain.audit import AuditEntry, AuditPage, actor_and_address, actor_text
from htcgrid_core.domain.lifecycle import SESSION, SessionState
from htcgrid_core.domain.spent import Spent

PREFIX = "A#"  # of partition keys: policies name it
SHARDS = 8
_ACTS, _ENDS = "A", "E"  # of the index's keys, before the number of a shard
_FIRST, _LAST = "0", "~"
_TERMINAL = frozenset(state for state in SessionState if SESSION.is_terminal(state))


@dataclass(frozen=True, slots=True)
class AuditItems:
    """Makes entries' items.

    Args:
        kept_seconds: how long entries are kept; longer, if their session is.
    """

    kept_seconds: float = limits.AUDIT_SECONDS

    def put(
        self,
        at: float,
        session_id: str,
        actor: str,
        event: str,
        before: str,
        after: str,
        detail: str = "",
        *,
        spent: Spent | None = None,
        session_seconds: float = 0.0,
        token: str = "",
    ) -> Write:
        """The write of an entry, which fails if it is there.

        Args:
            actor: with its address, as ``domain.audit.actor_text`` has it.
            session_seconds: how long the session's own row is kept from now on, at least.
            token: what tells the entry from others of the same moment and event; made up, if it is not said.
        """
        kept = max(self.kept_seconds, session_seconds, limits.COSTS_SECONDS if spent is not None else 0.0)
        shard = zlib.crc32(session_id.encode()) % SHARDS
        item: Item = {
            BY_TIME_KEY: f"{_ACTS if spent is None else _ENDS}{shard}",
            SUBMITTED_AT: at,
            "line": json.dumps([actor, event, before, after, detail], separators=(",", ":")),
            TTL: int(min(at + kept, 1e11)),
        }
        if spent is not None:
            item["spent"] = spent.text()
        key = (PREFIX + session_id, f"{at:017.6f}#{_rank(before, after)}{event}#{token or secrets.token_hex(4)}")
        return Write(key, "attribute_not_exists(#pk)", item=item)


class DynamoAuditLog:
    """Entries of one table."""

    def __init__(self, table: Table, items: AuditItems) -> None:
        self._table = table
        self._items = items

    def append(self, entry: AuditEntry, token: str) -> None:
        """Add an entry, once for each token."""
        actor = actor_text(entry.actor, entry.address)
        write = self._items.put(
            entry.at, entry.session_id, actor, entry.event, entry.before, entry.after, entry.detail, token=token
        )
        try:
            self._table.write(write)
        except ConditionFailed:
            return  # its reply was lost

    def of_session(self, session_id: str) -> list[AuditEntry]:
        """A session's entries, oldest first."""
        return [_entry(item) for item in self._table.query(PREFIX + session_id, _FIRST, _LAST)]

    def entries(self, since: float, until: float, limit: int, cursor: str | None = None) -> AuditPage:
        """Entries of a time, newest first."""
        last = None if cursor is None else tuple(json.loads(cursor))
        keys = list(islice(self._keys((_ACTS, _ENDS), since, until, limit, last), limit))
        more = json.dumps(_position(keys[-1])) if len(keys) == limit else None
        return AuditPage(self._read(keys), more)

    def ends(self, since: float, until: float) -> Iterator[AuditEntry]:
        """Ends of sessions of a time, newest first."""
        keys = self._keys((_ENDS,), since, until, BATCH_READ, None)
        while piece := list(islice(keys, BATCH_READ)):
            yield from self._read(piece)

    def prune(self, now: float) -> int:
        """DynamoDB deletes items by itself, for nothing."""
        return 0

    def _keys(
        self, kinds: tuple[str, ...], since: float, until: float, piece: int, last: tuple[Any, ...] | None
    ) -> Iterator[Item]:
        """Keys of all shards as the index has them, newest first, behind those of a position."""
        below = until if last is None else min(until, last[0] + 1e-6)  # others of the same moment come again
        shards = (
            _until(
                since,
                self._table.index(
                    BY_TIME_INDEX,
                    (BY_TIME_KEY, f"{kind}{shard}"),
                    below=None if below == float("inf") else (SUBMITTED_AT, below),
                    backwards=True,
                    piece=min(piece, BATCH_READ),
                ),
            )
            for kind in kinds
            for shard in range(SHARDS)
        )
        found = merge(*(_sorted(shard) for shard in shards), key=_position, reverse=True)
        return (key for key in found if last is None or _position(key) < last)

    def _read(self, keys: list[Item]) -> list[AuditEntry]:
        """The entries that the index names, in its order; what has expired meanwhile is left out."""
        found = self._table.get_many([(key[PARTITION], key[SORT]) for key in keys])
        return [_entry(item) for key in keys if (item := found.get((key[PARTITION], key[SORT]))) is not None]


def _rank(before: str, after: str) -> int:
    """Of what happens to a session at one moment, what comes first: its submission; last: its end, and its deletion."""
    if not before or not after:
        return 0 if not before else 3
    return 2 if after in _TERMINAL else 1


def _until(since: float, keys: Iterator[Item]) -> Iterator[Item]:
    for key in keys:
        if key[SUBMITTED_AT] < since:
            return
        yield key


def _sorted(keys: Iterator[Item]) -> Iterator[Item]:
    """Those of one moment by their names, too, which the index does not do."""
    moment: list[Item] = []
    for key in keys:
        if moment and key[SUBMITTED_AT] != moment[0][SUBMITTED_AT]:
            yield from sorted(moment, key=_position, reverse=True)
            moment = []
        moment.append(key)
    yield from sorted(moment, key=_position, reverse=True)


def _position(key: Item) -> tuple[float, str, str]:
    return float(key[SUBMITTED_AT]), key[PARTITION], key[SORT]


def _entry(item: Item) -> AuditEntry:
    actor, event, before, after, detail = json.loads(item["line"])
    who, address = actor_and_address(actor)
    spent = Spent.read(item["spent"]) if "spent" in item else None
    at, session_id = float(item[SUBMITTED_AT]), str(item[PARTITION]).removeprefix(PREFIX)
    return AuditEntry(at, session_id, who, event, before, after, detail, address, spent)
