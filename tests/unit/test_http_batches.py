"""Events in requests: none larger than its server takes, whatever the events are."""

from __future__ import annotations

import pytest

from htcgrid_core.domain.errors import InvalidEvent
from htcgrid_core.gateway.http import submitting
from htcgrid_core.gateway.http.submitting import batches

LAMBDA = 4_500_000


@pytest.mark.parametrize("event", [b"1", b"x" * 20, b"x" * 3_000_000])
def test_none_is_larger_than_a_server_takes(event: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor behind the first many, where parts are larger for servers that have room."""
    monkeypatch.setattr(submitting, "LARGE_FROM_BYTES", 1)
    count = max(4, min(300_000, 12_000_000 // len(event)))
    found = list(batches((event for _ in range(count)), LAMBDA))
    assert sum(batch.count for batch in found) == count
    assert max(len(batch.frame) for batch in found) < LAMBDA
    assert [batch.is_last for batch in found] == [False] * (len(found) - 1) + [True]


def test_an_event_that_no_request_holds() -> None:
    with pytest.raises(InvalidEvent, match="4,200,000 at most"):
        list(batches([b"", b"x" * 4_200_001], LAMBDA))
