"""What a session is said to have cost, beside the calls that were counted while it ran."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.aws.bench.cost import HANDLER, SLOTS, events_of, metered
from tests.aws.emulators import Account
from tests.aws.grids import CloudUnderTest

CASES = [(1.0, 1, 15), (1.0, 8, 20), (0.1, 64, 6), (10.0, 8, 10)]


def test_a_session_costs_what_its_calls_did(aws_account: Account, aws_cloud: CloudUnderTest, tmp_path: Path) -> None:
    """From submit to the last result, heartbeats and polls included: what is reckoned is about what was counted."""
    with metered(aws_account, aws_cloud.url, tmp_path) as (grid, meter):
        grid.submit(HANDLER, [0] * SLOTS, bundle_size=1).wait()  # workers are there, clients are made
        for payload_kb, size, bundles in CASES:
            events = events_of(size * bundles, payload_kb)
            meter.reset()
            session = grid.submit(HANDLER, events, bundle_size=size, labels={"case": f"{payload_kb}"})
            session.wait()
            assert len(list(session.results())) == len(events)
            counted, found = meter.dollars, session.cost()
            ratio = found.cost.requests / counted
            print(f"{payload_kb} KB, bundles of {size}: {found.cost.requests:.3e} of {counted:.3e}, {ratio:.2f}")
            assert 0.5 <= ratio <= 2.0
            assert found.is_final
            assert found.spent.bundles == bundles
            assert found.spent.usage.commits >= bundles
            assert found.spent.usage.input_bytes >= size * bundles * payload_kb * 900
            assert found.cost.compute == pytest.approx(found.spent.task_seconds / 3600 * 0.03625 * 1.12), (
                "a slot is a core of a node that Auto Mode manages, where no price is set"
            )
            assert found.cost.storage > 0
        rows = grid.costs().rows
        assert sum(row.sessions for row in rows) == len(CASES) + 1
        by_case = {row.key: row for row in grid.costs(by="label:case").rows}
        assert by_case[""].sessions == 1
        assert by_case["1.0"].sessions == 2
        estimate = grid.estimate(HANDLER, 1000)
        assert estimate.sessions == len(CASES) + 1
        assert estimate.cost is not None
        assert estimate.low <= estimate.cost.total <= estimate.high
        assert grid.estimate("nobody.knows", 1000).cost is None
