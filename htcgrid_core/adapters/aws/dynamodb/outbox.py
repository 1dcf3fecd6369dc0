"""The outbox on DynamoDB: a row is an item of its own, a row that is not settled has an entry of an index.

The index is that of ended sessions, under another key of it: a grid that was made by an earlier release has it.
"""

from __future__ import annotations

from collections.abc import Sequence

from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.adapters.aws.dynamodb.keys import UNFINISHED_SECONDS
from htcgrid_core.adapters.aws.dynamodb.schema import ENDED_INDEX, ENDED_KEY, EXPIRES_AT, PARTITION, SORT, TTL, Key
from htcgrid_core.adapters.aws.dynamodb.table import Table
from htcgrid_core.adapters.aws.dynamodb.writes import ConditionFailed, Write
from htcgrid_core.adapters.outbox_rows import row_of, text_of
from htcgrid_core.domain import limits
from htcgrid_core.domain.destination import NAME, Destination
from htcgrid_core.domain.notification import Due, Notification

_PENDING = "N"  # the index's key of what is not settled
_SESSION, _DESTINATIONS = "N#", "DESTINATIONS"
_FIRST, _LAST = "0", "~"  # around each name
_SETTLED_SECONDS = limits.MAX_RETENTION_SECONDS


class DynamoOutbox:
    """Rows by session and recipient, and destinations by name."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, session_id: str, to: str) -> Notification | None:
        """One row."""
        item = self._table.get(_key(session_id, to))
        return None if item is None else _row(item)

    def of(self, session_id: str) -> list[Notification]:
        """All rows of a session."""
        return [_row(item) for item in self._table.query(_SESSION + session_id, _FIRST, _LAST)]

    def pending(self) -> list[Due]:
        """Rows that are not settled, as the index has them."""
        keys = self._table.index(ENDED_INDEX, (ENDED_KEY, _PENDING))
        return [Due(_session_id(key), key[SORT], float(key[EXPIRES_AT])) for key in keys]

    def replace(self, before: Notification | None, after: Notification) -> bool:
        """Write ``after`` in the place of ``before``, or of nothing; False if another row is there by now."""
        item: Item = {"v": after.version, "body": text_of(after), TTL: _ttl(after)}
        if not after.is_settled:
            item |= {ENDED_KEY: _PENDING, EXPIRES_AT: after.due_at}
        condition = "attribute_not_exists(#pk)" if before is None else "#v = :before"
        arguments = {} if before is None else {"before": before.version}
        try:
            self._table.write(Write(_key(after.session_id, after.to), condition, item=item, arguments=arguments))
        except ConditionFailed as failed:
            return failed.item.get("v") == after.version
        return True

    def forget(self, session_ids: Sequence[str]) -> None:
        """Nothing: DynamoDB deletes settled rows in time, for nothing."""

    def destination(self, name: str) -> Destination | None:
        """A destination by its name."""
        item = self._table.get((_DESTINATIONS, name)) if NAME.fullmatch(name) else None
        return None if item is None else Destination.stored(item["body"])

    def destinations(self) -> list[Destination]:
        """All of them, by name."""
        return [Destination.stored(item["body"]) for item in self._table.query(_DESTINATIONS, _FIRST, _LAST)]

    def put_destination(self, destination: Destination) -> None:
        """Register a destination, in the place of one with the same name."""
        item: Item = {"body": destination.model_dump_json()}
        self._table.write(Write((_DESTINATIONS, destination.name), "", item=item))

    def remove_destination(self, name: str) -> bool:
        """Forget a destination."""
        if self.destination(name) is None:
            return False
        self._table.delete((_DESTINATIONS, name))
        return True


def _key(session_id: str, to: str) -> Key:
    return _SESSION + session_id, to


def _session_id(item: Item) -> str:
    return str(item[PARTITION]).removeprefix(_SESSION)


def _row(item: Item) -> Notification:
    return row_of(_session_id(item), item[SORT], item["v"], item["body"])


def _ttl(row: Notification) -> int:
    return int(row.updated_at + _SETTLED_SECONDS + (0 if row.is_settled else UNFINISHED_SECONDS))
