"""The leases that a process holds: by them it knows, without reading, that a session cannot be over yet."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Hashable, Sequence

from htcgrid_core.adapters.locked import locked, new_lock
from htcgrid_core.ports.session_store import Commit

FRESH_SECONDS_A_LANE = 0.25  # after which a committer reads the counters again: the more lanes, the more that costs
FEW_LANES = 8  # a session with fewer is read no more often
READ_EVERY = 16  # one commit in so many reads in any case, and tidies up the lanes' logs
SESSIONS = 4096  # from which on those without a live lease here are forgotten


def is_tidying(bundle_id: str) -> bool:
    """Whether the committer of this bundle tidies up the logs: one root in sixteen, and one child, by its name."""
    number = int(bundle_id) if bundle_id.isdigit() else zlib.crc32(bundle_id.encode())
    return number % READ_EVERY == READ_EVERY - 1


class HeldLeases:
    """The leases of one process, by where their sessions' items are.

    A session of which this process holds a lease that has not lapsed has an open bundle, so that a commit was not its
    last one. Clocks decide how soon its end is seen, no more: what nobody sees here, the reconciler does.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = new_lock()
        self._held: dict[Hashable, dict[str, float]] = {}  # until when, by bundle
        self._read_at: dict[Hashable, float] = {}

    @locked
    def leased(self, place: Hashable, bundle_id: str, until: float, now: float) -> None:
        """A bundle is this process's until then (wall clock, s)."""
        if len(self._held) >= SESSIONS:
            self._forget_lapsed(now)
        self._held.setdefault(place, {})[bundle_id] = until

    @locked
    def released(self, place: Hashable, bundle_ids: Sequence[str]) -> None:
        """Bundles are not this process's any more."""
        held = self._held.get(place, {})
        for bundle_id in bundle_ids:
            held.pop(bundle_id, None)
        if not held:
            self._held.pop(place, None)
            self._read_at.pop(place, None)

    @locked
    def counters_read(self, place: Hashable) -> None:
        """All counters of a session were read just now."""
        if len(self._read_at) >= SESSIONS:
            self._read_at = {known: at for known, at in self._read_at.items() if known in self._held}
        self._read_at[place] = self._monotonic()

    @locked
    def committed(self, place: Hashable, lanes: int, commits: Sequence[Commit]) -> bool:
        """Some bundles are done; whether the session's counters must be read, since it may be over or they are old.

        That it may be over is no reason where there is one lane: what is written then says so.
        """
        for commit in commits:
            for child in commit.children:
                if child.lease is not None:
                    self.leased(place, child.bundle.bundle_id, child.lease.until, commit.now)
        read_of_one_lane = self._read_at.get(place) if lanes == 1 else None
        self.released(place, [commit.bundle_id for commit in commits])
        # Of several lanes, what was read counts only while this process has other leases: the state may be another.
        read_at = self._read_at.get(place, float("-inf")) if read_of_one_lane is None else read_of_one_lane
        now = max(commit.now for commit in commits)
        goes_on = any(commit.children for commit in commits) or any(
            until > now for until in self._held.get(place, {}).values()
        )
        is_old = self._monotonic() - read_at > FRESH_SECONDS_A_LANE * max(lanes, FEW_LANES)
        is_tidied = any(is_tidying(commit.bundle_id) for commit in commits)
        may_be_over = lanes > 1 and (not goes_on or any(commit.failed for commit in commits))
        return may_be_over or is_old or is_tidied

    def _forget_lapsed(self, now: float) -> None:
        for place in [place for place, held in self._held.items() if max(held.values()) <= now]:
            del self._held[place]
            self._read_at.pop(place, None)
