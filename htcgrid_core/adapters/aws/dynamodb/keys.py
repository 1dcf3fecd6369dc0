"""Where a session's items are: their partition and sort keys, by the session's generation and lanes."""

from __future__ import annotations

from dataclasses import dataclass

from htcgrid_core.adapters.aws.dynamodb.schema import Key
from htcgrid_core.domain.bundle import root_of

UNFINISHED_SECONDS = 60 * 86400.0  # rows of a session that never ends are kept so long beside its retention time
GROUP_ROOTS = 8  # neighbouring roots share a partition, since they are read together


@dataclass(frozen=True, slots=True)
class Place:
    """Where a session's items are.

    Attributes:
        generation: of the session's row; another try under the same id has another one, and so other items.
        lanes: over how many partitions bundles, counters and logs are spread.
        retention_seconds: how long after its end the session can be read.
    """

    session_id: str
    generation: str
    lanes: int
    retention_seconds: float

    def has_items_of(self, other: Place) -> bool:
        """Whether both are where the same items are."""
        return (self.session_id, self.generation, self.lanes) == (other.session_id, other.generation, other.lanes)

    def lane_of(self, root: int) -> int:
        """The lane of a root bundle and all its descendants."""
        return root // GROUP_ROOTS % self.lanes

    def partition(self, lane: int) -> str:
        """The partition key of a lane."""
        return f"{self.session_id}#{self.generation}#{lane:02d}"

    def counter_key(self, lane: int) -> Key:
        """The item with a lane's counters and log: the session's row itself if there is one lane only."""
        return session_key(self.session_id) if self.lanes == 1 else (self.partition(lane), "C")

    def counter_keys(self) -> list[Key]:
        """Of all lanes."""
        return [self.counter_key(lane) for lane in range(self.lanes)]

    def block_key(self, root: int) -> Key:
        """A root bundle with its events; never changed."""
        return self.partition(self.lane_of(root)), block_sort(root)

    def bundle_key(self, bundle_id: str) -> Key:
        """A bundle's lease, and in the end its outcomes; a root has none until it is first claimed."""
        return self.partition(self.lane_of(root_of(bundle_id))), f"B#{bundle_id}"

    def attempts_key(self, bundle_id: str) -> Key:
        """What tasks of a bundle that run again said when they failed; beside the bundle, which is read more often."""
        return self.partition(self.lane_of(root_of(bundle_id))), f"F#{bundle_id}"

    @property
    def page_order(self) -> str:
        """The partition key of the order of pages."""
        return f"{self.session_id}#{self.generation}#D"

    def ttl(self, now: float) -> int:
        """When DynamoDB may delete an item written at ``now``."""
        return int(min(now + self.retention_seconds + UNFINISHED_SECONDS, 1e11))


def session_key(session_id: str) -> Key:
    """A session's row."""
    return f"S#{session_id}", "S"


def block_sort(root: int) -> str:
    """The sort key of a root's events."""
    return f"R#{root:08d}"
