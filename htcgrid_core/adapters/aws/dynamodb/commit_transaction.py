"""The transaction of commits of one session: its writes, and which of the commits their conditions refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self

from htcgrid_core.adapters.aws.dynamodb import items
from htcgrid_core.adapters.aws.dynamodb.attribute_values import Item
from htcgrid_core.adapters.aws.dynamodb.item_payloads import deflated, payload_attributes
from htcgrid_core.adapters.aws.dynamodb.keys import Place
from htcgrid_core.adapters.aws.dynamodb.schema import TTL
from htcgrid_core.adapters.aws.dynamodb.table import TRANSACTION
from htcgrid_core.adapters.aws.dynamodb.writes import Write
from htcgrid_core.domain.bundle import Child
from htcgrid_core.ports.session_store import Commit

COMMITS_WEIGHT = TRANSACTION - 2  # one item is the counters, and one the audit of the end
CHILDREN_IN_TRANSACTION = TRANSACTION - 3
WEIGHT_BYTES = 32_000  # of outcomes, which weigh as much as another item: a transaction takes 4 MB


@dataclass(frozen=True, eq=False, slots=True)
class CommitPart:
    """One commit, as a part of a transaction: its bundle, what its tasks said, if any failed, then its children."""

    commit: Commit
    place: Place
    writes: Sequence[Write]

    @property
    def weight(self) -> int:
        """In items of a transaction."""
        outcomes = self.commit.outcomes
        return len(self.writes) + (0 if outcomes is None else outcomes.size // WEIGHT_BYTES)


def commit_part(place: Place, commit: Commit, children: Sequence[Child]) -> CommitPart:
    """A commit with those of its children that its transaction creates."""
    said = [] if commit.attempts is None else [_said(place, commit, commit.attempts)]
    return CommitPart(commit, place, [_done(place, commit), *said, *(_put(place, child, commit) for child in children)])


def sorted_out(parts: Sequence[CommitPart], found: Sequence[Item | None]) -> tuple[set[CommitPart], set[CommitPart]]:
    """Of a transaction whose conditions failed: the parts that are lost, and those that were written before.

    Args:
        found: for each write, the counters' first, the item that broke its condition.
    """
    is_closed, rest = found[0] is not None, iter(found[1:])
    lost, before = set[CommitPart](), set[CommitPart]()
    for part in parts:
        broken = list(islice(rest, len(part.writes)))
        bundle = broken[0]
        if bundle is not None and "d" in bundle and bundle["t"] == part.commit.token:
            before.add(part)
        elif is_closed or any(item is not None for item in broken):
            lost.add(part)
    return lost, before


def _done(place: Place, commit: Commit) -> Write:
    """The bundle's item: done under its token, with its outcomes and the names of its children."""
    fields: Item = {"d": True, TTL: place.ttl(commit.now)}
    if commit.children:
        fields["kids"] = items.children_text([child.bundle.bundle_id for child in commit.children])
    if commit.outcomes is not None:
        fields |= {"ok": commit.completed, "bad": commit.failed, **payload_attributes(commit.outcomes)}
    return Write(
        place.bundle_key(commit.bundle_id),
        "#t = :token AND attribute_not_exists(#d)",
        "SET " + ", ".join(f"#{name} = :{name}" for name in fields),
        arguments={"token": commit.token, **fields},
    )


def _said(place: Place, commit: Commit, attempts: bytes) -> Write:
    """What tasks that run again said: an item of its own, which only whoever looks at them reads."""
    item: Item = {"p": deflated(attempts), TTL: place.ttl(commit.now)}
    return Write(place.attempts_key(commit.bundle_id), "", item=item)


def _put(place: Place, child: Child, commit: Commit) -> Write:
    """A child's item."""
    item = items.new_child(child, place.ttl(commit.now))
    return Write(place.bundle_key(child.bundle.bundle_id), "attribute_not_exists(#pk)", item=item)


@dataclass(frozen=True, slots=True)
class Counted:
    """What commits add to the counters that they share.

    Attributes:
        entries: for the log.
    """

    now: float
    completed: int
    failed: int
    seconds: float
    retrying: int
    entries: Sequence[str]
    commits: int
    output_bytes: int
    output_blobs: int

    @classmethod
    def of(cls, commits: Sequence[Commit]) -> Self:
        """Of all of them."""
        return cls(
            max(commit.now for commit in commits),
            sum(commit.completed for commit in commits),
            sum(commit.failed for commit in commits),
            sum(commit.task_seconds for commit in commits),
            sum(commit.retrying for commit in commits),
            [items.log_entry(commit.bundle_id, commit.failed) for commit in commits if commit.outcomes is not None],
            len(commits),
            sum(commit.output_bytes for commit in commits),
            sum(commit.output_blobs for commit in commits),
        )

    @property
    def done(self) -> int:
        """Tasks that have ended."""
        return self.completed + self.failed

    @property
    def adds(self) -> str:
        """What follows ADD."""
        there = {"re": self.retrying, "no": self.output_blobs}
        return "#ok :ok, #bad :bad, #sec :sec, #nc :nc, #bo :bo" + "".join(
            f", #{name} :{name}" for name, count in there.items() if count
        )

    @property
    def log_update(self) -> str:
        """What is added to SET."""
        return ", #log = list_append(if_not_exists(#log, :none), :entries)" if self.entries else ""

    @property
    def arguments(self) -> dict[str, Any]:
        """Of both."""
        return {
            "now": self.now, "ok": self.completed, "bad": self.failed, "sec": self.seconds, "re": self.retrying,
            "none": [], "entries": self.entries, "nc": self.commits, "bo": self.output_bytes, "no": self.output_blobs,
        }  # fmt: skip


def lane_write(place: Place, lane: int, commits: Sequence[Commit]) -> Write:
    """The counters of one of several lanes."""
    counted = Counted.of(commits)
    return Write(
        place.counter_key(lane),
        "attribute_not_exists(#closed)",
        f"SET #upd = :now{counted.log_update}, #{TTL} = :ttl ADD {counted.adds}",
        arguments={**counted.arguments, "ttl": place.ttl(counted.now)},
    )
