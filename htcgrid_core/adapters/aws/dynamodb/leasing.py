"""Claim and renew on DynamoDB: one conditional write of a bundle's item each."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from htcgrid_core.adapters.aws.dynamodb import items
from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.adapters.aws.dynamodb.early_children import EarlyChildren
from htcgrid_core.adapters.aws.dynamodb.held_leases import HeldLeases
from htcgrid_core.adapters.aws.dynamodb.keys import Place
from htcgrid_core.adapters.aws.dynamodb.schema import TTL
from htcgrid_core.adapters.aws.dynamodb.session_rows import SessionRow, SessionRows
from htcgrid_core.adapters.aws.dynamodb.table import Table
from htcgrid_core.adapters.aws.dynamodb.writes import ConditionFailed, Write
from htcgrid_core.domain.agent_version import is_for_newer_agents
from htcgrid_core.domain.bundle import root_of
from htcgrid_core.domain.errors import CorruptPayload, GridUnavailable
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.ports.bundle_queue import Hint
from htcgrid_core.ports.session_store import Claimed, Refusal, Refused, Renewal, Renewed

CLAIMABLE = (SessionState.SUBMITTED, SessionState.RUNNING)  # nothing of a cancelled session begins any more
THREADS = 8
TRIES = 20


@dataclass(frozen=True, slots=True)
class Wish:
    """What an agent asks for."""

    token: str
    owner: str
    now: float
    until: float


class Leasing:
    """Leases bundles to agents, and notes what this process holds."""

    def __init__(self, table: Table, rows: SessionRows, held_leases: HeldLeases, early_children: EarlyChildren) -> None:
        self._table = table
        self._rows = rows
        self._held_leases = held_leases
        self._early_children = early_children

    def claim(self, session_id: str, bundle_id: str, wish: Wish, generation: str) -> Claimed | Refused:
        """Lease a bundle that is ready, or whose lease has lapsed."""
        root = root_of(bundle_id)
        if root < 0:
            return Refused(Refusal.OVER)
        for _ in range(TRIES):
            place = self._rows.place(session_id, generation)
            if place is None:
                return Refused(Refusal.UNKNOWN)
            keys = (place.block_key(root), place.bundle_key(bundle_id))
            row, (block, item) = self._rows.find_with(place, keys)
            if row is None or row.place.has_items_of(place):
                answer = self._claim(row, block, item, bundle_id, wish)
                if answer is not None:
                    return answer
        raise GridUnavailable(f"bundle {bundle_id} of session {session_id}: others keep changing it; try again")

    def renew(self, renewals: Sequence[Renewal]) -> list[Renewed]:
        """Move leases' ends; one answer for each, in order."""
        ids = list(dict.fromkeys(renewal.session_id for renewal in renewals))
        rows = {
            row.session_id: row
            for at in range(0, len(ids), 100)
            for row in self._rows.find_without_lanes(ids[at : at + 100])
        }

        def renew(renewal: Renewal) -> Renewed:
            row = rows.get(renewal.session_id)
            if row is None:
                return Renewed(held=False, session_state=SessionState.CANCELLED)
            held = not row.ended and self._renew(row.place, renewal)
            return Renewed(held=held, session_state=row.state)

        if len(renewals) <= 1:
            return [renew(renewal) for renewal in renewals]
        with ThreadPoolExecutor(min(THREADS, len(renewals)), thread_name_prefix="htcgrid-renew") as pool:
            return list(pool.map(renew, renewals))

    def _renew(self, place: Place, renewal: Renewal) -> bool:
        if root_of(renewal.bundle_id) < 0:
            return False
        write = Write(
            place.bundle_key(renewal.bundle_id),
            "#t = :token AND attribute_not_exists(#d)",
            "SET #u = :until",
            arguments={"token": renewal.token, "until": renewal.until},
        )
        try:
            self._table.write(write)
        except ConditionFailed:
            self._held_leases.released(place, [renewal.bundle_id])
            return False
        self._held_leases.leased(place, renewal.bundle_id, renewal.until, renewal.until)
        return True

    def _claim(
        self, row: SessionRow | None, block: Item | None, item: Item | None, bundle_id: str, wish: Wish
    ) -> Claimed | Refused | None:
        """One try; None if another was quicker."""
        if row is None:
            return Refused(Refusal.UNKNOWN)
        if row.state not in CLAIMABLE or items.is_sealing(row.item):
            return Refused(Refusal.OVER)
        if block is None or root_of(bundle_id) >= row.item["w"] or (item is None and "." in bundle_id):
            return Refused(Refusal.OVER)
        place, held = row.place, item or {}
        if "d" in held:
            return Refused(Refusal.OVER, self._ready_children(place, held))
        if not self._early_children.born(place, [held]):
            return Refused(Refusal.OVER)
        if is_for_newer_agents(row.record.spec):
            return Refused(Refusal.NEWER)
        step = _step(held, wish)
        if isinstance(step, Refused):
            return step
        condition, update, arguments = step
        write = Write(
            place.bundle_key(bundle_id),
            condition + (" AND attribute_exists(#pk)" if "." in bundle_id else ""),
            f"SET #t = :token, #o = :owner, #u = :until, #{TTL} = :ttl{update}",
            arguments={
                "token": wish.token, "owner": wish.owner, "until": wish.until, "ttl": place.ttl(wish.now), **arguments,
            },
        )  # fmt: skip
        try:
            leased = self._table.write(write)
        except ConditionFailed:
            return None
        lease = items.lease_of(leased)
        if lease is None:
            raise CorruptPayload(f"bundle {bundle_id} of session {row.session_id} was leased and has no lease")
        self._held_leases.leased(place, bundle_id, wish.until, wish.now)
        return Claimed(items.bundle_of(place, bundle_id, leased, block), lease, items.block_of(block), row.record)

    def _ready_children(self, place: Place, parent: Item) -> tuple[Hint, ...]:
        """The children of a done bundle that nobody has claimed."""
        ids = items.children_of(parent)
        if not ids:
            return ()
        found = self._table.get_many([place.bundle_key(child) for child in ids], ("t", "d", "nb", "pl"))
        children = [(child, found.get(place.bundle_key(child))) for child in ids]
        return tuple(
            Hint(place.session_id, child, float(item.get("nb", 0.0)), pool=item.get("pl", ""))
            for child, item in children
            if item is not None and "t" not in item and "d" not in item
        )


def _step(held: Item, wish: Wish) -> tuple[str, str, Item] | Refused:
    """The condition and the update by which a bundle is leased as it was read, or why it is not."""
    if "t" not in held:
        if held.get("nb", 0.0) > wish.now:
            return Refused(Refusal.EARLY)
        return "attribute_not_exists(#t) AND attribute_not_exists(#d)", " ADD #e :one", {"one": 1}
    if held["t"] == wish.token:  # the same claim, repeated
        return "#t = :token AND attribute_not_exists(#d)", "", {}
    if held["u"] <= wish.now:
        condition = "#t = :lapsed AND #u <= :now AND attribute_not_exists(#d)"
        return condition, " ADD #e :one, #c :one", {"one": 1, "lapsed": held["t"], "now": wish.now}
    return Refused(Refusal.LEASED)
