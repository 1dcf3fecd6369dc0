"""What an agent expects of the claims that it has made."""

from __future__ import annotations

from htcgrid_core.agent.loop.pending_claims import PendingClaims
from htcgrid_core.ports.bundle_queue import Hint

UNTOLD = Hint("s-1", "00000000")
TOLD = Hint("s-1", "00000001", tasks=16)


def test_a_hint_that_tells_its_tasks_leaves_room_for_another_claim() -> None:
    pending = PendingClaims()
    pending.begin(TOLD)
    pending.begin(TOLD)
    assert (pending.claims, pending.tasks) == (2, 32)
    pending.end(TOLD, 16)
    assert (pending.claims, pending.tasks) == (1, 16)
    pending.end(TOLD, 0)
    assert (pending.claims, pending.tasks) == (0, 0)


def test_without_that_a_session_s_first_claim_may_bring_all_that_is_wanted() -> None:
    pending = PendingClaims()
    pending.begin(UNTOLD)
    assert pending.tasks == float("inf")
    pending.end(UNTOLD, 8)
    pending.begin(UNTOLD)
    pending.begin(TOLD)
    assert (pending.claims, pending.tasks) == (2, 24)
