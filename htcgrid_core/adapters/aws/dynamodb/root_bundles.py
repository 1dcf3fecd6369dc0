"""Root bundles and their events: announced in the session's row, written 25 in a call, then counted.

Calls that write 25 items have no conditions. So that no submitter replaces what another has written, the row says
which roots are written next, by digests of their events: whoever writes a root has found or put its digest there, so
that late and repeated writes put what is there already.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from htcgrid_core.adapters.aws.dynamodb import items
from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.adapters.aws.dynamodb.keys import Place, session_key
from htcgrid_core.adapters.aws.dynamodb.schema import PARTITION, SORT
from htcgrid_core.adapters.aws.dynamodb.sealing import Sealing
from htcgrid_core.adapters.aws.dynamodb.session_rows import SessionRow
from htcgrid_core.adapters.aws.dynamodb.table import Table
from htcgrid_core.adapters.aws.dynamodb.writes import ConditionFailed, Write
from htcgrid_core.domain.bundle import Block, Bundle
from htcgrid_core.domain.errors import GridUnavailable, IllegalTransition, SessionConflict
from htcgrid_core.domain.lifecycle import SessionState

DIGEST_BYTES = 8  # of each root; what is announced is as long as one call of submit, 64 of them
TRIES = 20

Roots = Sequence[tuple[Bundle, Block]]


class RootBundles:
    """Writes the tasks of sessions that are being submitted."""

    def __init__(self, table: Table, sealing: Sealing) -> None:
        self._table = table
        self._sealing = sealing

    def put(self, session_id: str, bundles: Roots, now: float) -> None:
        """Write roots and their blocks and add their tasks to the total; those that exist are left alone.

        What was put and not counted (its submitter died) is nobody's yet, and is counted when the same roots come
        again.
        """
        for _ in range(TRIES):
            row = self._sealing.settled(session_id)
            if row.state is not SessionState.SUBMITTED:
                raise IllegalTransition(f"session {session_id} is {row.state}, so it takes no more tasks")
            counted = row.item["w"]
            self._compare(row.place, [block for _, block in bundles if block.root < counted])
            new = sorted((pair for pair in bundles if pair[1].root >= counted), key=lambda pair: pair[1].root)
            if [block.root for _, block in new] != list(range(counted, counted + len(new))):
                raise ValueError(f"session {session_id} has {counted} roots: they are written in their order")
            if self._write_new(row, new, now):
                return
        raise GridUnavailable(f"session {session_id}: others keep adding to it; try again")

    def _write_new(self, row: SessionRow, new: Roots, now: float) -> bool:
        """Announce, write and count; False if another changed the row meanwhile."""
        try:
            announced = self._announce(row, b"".join(_digest(block) for _, block in new))
            self._table.put_many([root_item(row.place, bundle, block, now) for bundle, block in new])
            self._count(row, new, announced, now)
        except ConditionFailed:
            return False
        return True

    def _announce(self, row: SessionRow, digests: bytes) -> bytes:
        """Say which roots come next, unless the row does; what it says then."""
        said: bytes = row.item.get("next", b"")
        if said.startswith(digests):
            return said  # an earlier try, or another submitter of the same body
        if not digests.startswith(said):
            raise _conflict(row.session_id)
        self._table.write(_write(row, said, "SET #next = :digests", {"digests": digests}))
        return digests

    def _count(self, row: SessionRow, new: Roots, announced: bytes, now: float) -> None:
        """Add the tasks of roots that are written; what else was announced stays so."""
        tasks, rest = sum(block.count for _, block in new), announced[DIGEST_BYTES * len(new) :]
        size = sum(block.payload.size for _, block in new)
        arguments = {"new": row.item["w"] + len(new), "now": now, "tasks": tasks, "bytes": size, "rest": rest}
        update = "SET #w = :new, #upd = :now" + (", #next = :rest" if rest else " REMOVE #next")
        self._table.write(_write(row, announced, f"{update} ADD #tot :tasks, #pend :tasks, #bi :bytes", arguments))

    def _compare(self, place: Place, blocks: Sequence[Block]) -> None:
        """Whether roots that exist hold these events.

        Raises:
            SessionConflict: one of them holds others.
        """
        names = ("fi", "n", "crc", "sz")
        found = self._table.get_many([place.block_key(block.root) for block in blocks], names)
        if not all(items.same_block(found[place.block_key(block.root)], block) for block in blocks):
            raise _conflict(place.session_id)


def root_item(place: Place, bundle: Bundle, block: Block, now: float) -> Item:
    """A root bundle and its events, with its key."""
    partition, sort = place.block_key(block.root)
    return {PARTITION: partition, SORT: sort, **items.new_block(bundle, block, place.ttl(now))}


def _write(row: SessionRow, announced: bytes, update: str, arguments: Item) -> Write:
    """A change of a row that takes more tasks, and is as it was read."""
    return Write(
        session_key(row.session_id),
        "#gen = :gen AND #st = :submitted AND #w = :counted AND attribute_not_exists(#ending) AND "
        + ("#next = :announced" if announced else "attribute_not_exists(#next)"),
        update,
        arguments={
            "gen": row.place.generation, "submitted": SessionState.SUBMITTED, "counted": row.item["w"],
            "announced": announced, **arguments,
        },
    )  # fmt: skip


def _digest(block: Block) -> bytes:
    what = (block.first_index, block.count, block.checksum, block.payload.size)
    return hashlib.blake2b(repr(what).encode(), digest_size=DIGEST_BYTES).digest()


def _conflict(session_id: str) -> SessionConflict:
    return SessionConflict(
        f"session {session_id} is being submitted under the same token with other events: "
        "use another token for another body"
    )
