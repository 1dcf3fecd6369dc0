"""Legal holds on DynamoDB, in steps that may be repeated: no item of a session that is held has a time to live.

The session's row says which step it is in, and is not deleted in any of them. It loses its own times first, so that
from then on nothing expires it, of whatever release; then its other items do, and last the row says that it is held.
A release first takes that back, and gives the row its times last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

from htcgrid_core.adapters.aws.dynamodb.audit_log import AuditItems
from htcgrid_core.adapters.aws.dynamodb.items import ENDED_SLACK_SECONDS, HOLD_STEP, audit_text
from htcgrid_core.adapters.aws.dynamodb.keys import Place, session_key
from htcgrid_core.adapters.aws.dynamodb.page_order import PageOrder
from htcgrid_core.adapters.aws.dynamodb.schema import EXPIRES_AT, PARTITION, SORT, TTL, Key
from htcgrid_core.adapters.aws.dynamodb.session_rows import SessionRow, SessionRows
from htcgrid_core.adapters.aws.dynamodb.table import Table
from htcgrid_core.adapters.aws.dynamodb.writes import ConditionFailed, Write
from htcgrid_core.domain.audit import HOLD, RELEASE
from htcgrid_core.domain.errors import GridUnavailable, SessionNotFound
from htcgrid_core.domain.session import SessionRecord
from htcgrid_core.ports.session_store import check_holdable

HOLDING, HELD, RELEASING = "holding", "held", "releasing"
THREADS = 8
PIECE = 256  # items whose times are changed before more are read
ROUNDS = 20  # of looks for items that still have a time; what was under way when the session ended comes in one more
_THIS = "#gen = :gen AND attribute_not_exists(#live)"


class Holding:
    """Holds sessions and releases them."""

    def __init__(self, table: Table, rows: SessionRows, page_order: PageOrder, audit: AuditItems) -> None:
        self._table = table
        self._rows = rows
        self._page_order = page_order
        self._audit = audit

    def hold(self, session_id: str, now: float, actor: str, reason: str) -> SessionRecord:
        """Keep one that has ended, until it is released; return once all of it is kept."""
        row = self._rows.get(session_id)
        if row.item.get(EXPIRES_AT, now + 1) <= now:
            raise SessionNotFound(session_id)
        if row.item.get(HOLD_STEP) == HELD:
            return row.record
        check_holdable(row.record)
        begin = f"SET #{HOLD_STEP} = :holding REMOVE #{TTL}, #{EXPIRES_AT}"
        self._step(row, begin, {"holding": HOLDING}, f"(attribute_not_exists(#{HOLD_STEP}) OR #{HOLD_STEP} <> :held)")
        if row.place.lanes > 1:
            self._page_order.extend(row.place, now)  # so that no reader adds items to it later, which would have times
        self._change_all(row.place, with_time=True, update=f"REMOVE #{TTL}", ttl=0)
        line = audit_text(now, actor, HOLD, row.state, row.state, reason)
        self._step(
            row,
            f"SET #{HOLD_STEP} = :held, #held = :reason, #hist = list_append(#hist, :line)",
            {"reason": reason, "line": [line]},
            f"#{HOLD_STEP} = :holding",
            self._audit.put(now, session_id, actor, HOLD, row.state, row.state, reason),
        )
        return self._rows.get(session_id).record

    def release(self, session_id: str, now: float, actor: str, reason: str) -> SessionRecord:
        """Let its retention go on, as if it had never been held."""
        row = self._rows.get(session_id)
        if HOLD_STEP not in row.item:
            return row.record
        self._step(row, f"SET #{HOLD_STEP} = :releasing REMOVE #held", {}, f"attribute_exists(#{HOLD_STEP})")
        ttl = row.place.ttl(now)
        self._change_all(row.place, with_time=False, update=f"SET #{TTL} = :ttl", ttl=ttl)
        expires = float(row.item["end"]) + row.place.retention_seconds
        line = audit_text(now, actor, RELEASE, row.state, row.state, reason)
        self._step(
            row,
            f"SET #{EXPIRES_AT} = :expires, #{TTL} = :ttl, #hist = list_append(#hist, :line) REMOVE #{HOLD_STEP}",
            {"expires": expires, "ttl": int(min(max(now, expires) + ENDED_SLACK_SECONDS, 1e11)), "line": [line]},
            f"#{HOLD_STEP} = :releasing",
            self._audit.put(now, session_id, actor, RELEASE, row.state, row.state, reason),
        )
        return self._rows.get(session_id).record

    def _step(self, row: SessionRow, update: str, arguments: dict[str, Any], condition: str, *along: Write) -> None:
        """Write a step of the row.

        Raises:
            GridUnavailable: another has begun the opposite at the same moment; what was asked for can be asked again.
        """
        steps = {"holding": HOLDING, "held": HELD, "releasing": RELEASING}
        write = Write(
            session_key(row.session_id),
            f"{_THIS} AND {condition}",
            update,
            arguments={"gen": row.place.generation, **steps, **arguments},
        )
        try:
            self._table.transact([write, *along])
        except ConditionFailed as failed:
            if not failed.item:
                raise SessionNotFound(row.session_id) from None
            text = f"session {row.session_id}: another is holding or releasing it, or has done so; look, and try again"
            raise GridUnavailable(text) from None

    def _change_all(self, place: Place, *, with_time: bool, update: str, ttl: int) -> None:
        """Change all items of the session that have a time to live, or have none, until there are no more."""
        if place.lanes == 1:
            partitions = [place.partition(0), place.page_order]
        else:
            partitions = [*map(place.partition, range(place.lanes)), place.page_order]

        def change(key: Key) -> None:
            write = Write(key, "attribute_exists(#pk)", update, arguments={"ttl": ttl})
            self._table.write(write)

        with ThreadPoolExecutor(THREADS, thread_name_prefix="htcgrid-hold") as pool:
            for partition in partitions:
                for _ in range(ROUNDS):
                    found = self._found(partition, with_time=with_time)
                    changed = 0
                    while keys := list(islice(found, PIECE)):
                        list(pool.map(change, keys))
                        changed += len(keys)
                    if not changed:
                        break
                else:
                    text = f"session {place.session_id}: others keep writing items of it; try again"
                    raise GridUnavailable(text)

    def _found(self, partition: str, *, with_time: bool) -> Iterator[Key]:
        names: Sequence[str] = (PARTITION, SORT, TTL)
        for item in self._table.query(partition, "!", "~", names=names):
            if (TTL in item) is with_time:
                yield item[PARTITION], item[SORT]
