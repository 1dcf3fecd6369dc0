"""More children of a commit than a transaction takes: written before it, and not born until it has happened.

Each names its parent and the token under which that is being committed. Until the parent is done under that token,
nobody is told of them: an agent that dies in between, or loses its lease, leaves nothing that could run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from htcgrid_core.adapters.aws.dynamodb import items
from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.adapters.aws.dynamodb.keys import Place
from htcgrid_core.adapters.aws.dynamodb.table import Table
from htcgrid_core.adapters.aws.dynamodb.writes import ConditionFailed, Write
from htcgrid_core.domain.bundle import Child
from htcgrid_core.ports.session_store import Commit


class EarlyChildren:
    """Writes such children, and tells those that exist from those that do not."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def write(self, place: Place, commit: Commit, children: Sequence[Child]) -> None:
        """Write the children of a commit that is about to be made."""
        keys = {place.bundle_key(child.bundle.bundle_id): child for child in children}
        written = self._table.get_many(list(keys), ("par",))  # by an earlier try
        parent = {"par": commit.bundle_id, "pt": commit.token}
        for key in keys.keys() - written.keys():
            item = items.new_child(keys[key], place.ttl(commit.now))
            with contextlib.suppress(ConditionFailed):  # by another that sends the same commit
                self._table.write(Write(key, "attribute_not_exists(#pk)", item={**item, **parent}))

    def born(self, place: Place, bundles: Sequence[Item]) -> list[Item]:
        """Those bundles whose parents' commits have happened, if they were written before them."""
        parents = {item["par"] for item in bundles if "par" in item}
        if not parents:
            return list(bundles)
        done = self._table.get_many([place.bundle_key(parent) for parent in parents], ("t", "d"))

        def is_born(item: Item) -> bool:
            parent = done.get(place.bundle_key(item["par"]), {})
            return "d" in parent and parent["t"] == item["pt"]

        return [item for item in bundles if "par" not in item or is_born(item)]
