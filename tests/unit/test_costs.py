"""Dollars of what sessions took: by the table of prices, by an operator's own, and of sessions to be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given, strategies

from htcgrid_core.client.cost_periods import periods
from htcgrid_core.domain.costs import EARLIER, Cost, cost_of, estimate_of
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.lifecycle import SessionState
from htcgrid_core.domain.moment import day_after, rfc3339, seconds_of_day
from htcgrid_core.domain.prices import FREE, PRICES
from htcgrid_core.domain.session import Counters, SessionRecord
from htcgrid_core.domain.spent import Spent, Usage
from htcgrid_core.local import kept
from tools.docs import costs as documented

HOUR = Spent("pricing.handler", tasks=3600, bundles=30, task_seconds=3600.0, usage=Usage(30, 3_600_000, 3_600_000, 30))


class TestCost:
    @pytest.mark.parametrize(("size", "writes", "reads", "counted"), documented.measured())
    def test_requests_are_about_what_was_counted(self, size: int, writes: float, reads: float, counted: float) -> None:
        """The table of docs/aws.md, at 1 KB in and out; the units in it are those of sessions without an audit."""
        bundles = 10_000
        tasks, packed = bundles * size, bundles * size * 1000
        usage = Usage(bundles, packed, packed, bundles if size * 1000 > 8192 else 0)
        spent = Spent(tasks=tasks, bundles=bundles, usage=usage)
        assert 0.6 <= cost_of(spent, PRICES).requests / tasks * 1e6 / counted <= 1.5

    def test_a_kilobyte_and_what_is_around_it_are_one_write_unit(self) -> None:
        """Events and outcomes of the bundles of one task that docs/aws.md has: their items are of 900 and 970 bytes."""

        def of(events: int, outcomes: int) -> float:
            return cost_of(Spent(tasks=15, bundles=15, usage=Usage(15, 15 * events, 15 * outcomes, 0)), PRICES).requests

        assert of(1020, 1039) == of(100, 100)
        assert of(1020, 1200) > of(1020, 1039)

    def test_an_hour_of_a_slot_is_its_pools_price(self) -> None:
        prices = replace(PRICES, slot_hour=2.0, pools={"spot": 0.5})
        assert cost_of(HOUR, prices).compute == pytest.approx(2.0)
        assert cost_of(replace(HOUR, pool="spot"), prices).compute == pytest.approx(0.5)
        assert cost_of(HOUR, PRICES).compute == pytest.approx(PRICES.core_hour * (1 + PRICES.auto_mode_share))

    def test_a_grid_of_one_machine_costs_nothing_unless_its_slots_have_a_price(self) -> None:
        assert cost_of(HOUR, FREE) == Cost()
        assert "no price" in FREE.note
        priced = FREE.corrected('{"slot_hour": 0.05}')
        assert cost_of(HOUR, priced).total == cost_of(HOUR, priced).compute == pytest.approx(0.05)
        assert "no price" not in priced.note

    def test_storage_is_what_is_kept_for_as_long_as_it_is(self) -> None:
        """A month of a gigabyte of results in the bucket."""
        usage = Usage(100, 0, 10**9, 100)
        spent = Spent(tasks=100, bundles=100, kept_seconds=30.4375 * 86400, usage=usage)
        assert cost_of(spent, PRICES).storage == pytest.approx(PRICES.bucket_gb_month)

    @given(
        strategies.integers(0, 10**6), strategies.integers(0, 10**4), strategies.integers(0, 10**12),
        strategies.integers(0, 10**12), strategies.floats(0, 1e9),
    )  # fmt: skip
    def test_it_is_never_negative_and_never_fails(
        self, tasks: int, commits: int, events: int, outcomes: int, seconds: float
    ) -> None:
        """Whatever a row says, one that old agents have counted in among them."""
        for blobs in (0, commits // 2, commits, commits + 1):
            spent = Spent(tasks=tasks, bundles=commits, task_seconds=seconds, kept_seconds=seconds,
                          usage=Usage(commits, events, outcomes, blobs))  # fmt: skip
            cost = cost_of(spent, PRICES)
            assert min(cost.requests, cost.compute, cost.storage) >= 0.0
            assert cost.total == cost.requests + cost.compute + cost.storage


class TestEstimate:
    def test_of_no_earlier_sessions_nothing_is_known(self) -> None:
        found = estimate_of([], "pricing.handler", 1000, PRICES, "default")
        assert (found.sessions, found.cost) == (0, None)
        nothing_done = replace(HOUR, tasks=0)
        assert estimate_of([nothing_done], "pricing.handler", 1000, PRICES, "default").cost is None

    def test_twice_the_tasks_are_twice_the_dollars(self) -> None:
        """Of a session that was all alike."""
        found = estimate_of([HOUR], "pricing.handler", 7200, PRICES, "default")
        assert found.cost is not None
        assert found.cost.total == pytest.approx(2 * cost_of(HOUR, PRICES).total)
        assert found.low == found.high == pytest.approx(found.cost.total)
        assert found.task_seconds == pytest.approx(7200)

    def test_one_that_went_astray_does_not_decide(self) -> None:
        dear = replace(HOUR, task_seconds=360_000.0)
        found = estimate_of([dear, HOUR, HOUR, HOUR, HOUR], "pricing.handler", 3600, PRICES, "default")
        assert found.cost is not None
        assert found.cost.total == pytest.approx(cost_of(HOUR, PRICES).total)
        assert found.low <= found.cost.total <= found.high

    @pytest.mark.parametrize("hours", [(1, 9), (1, 2, 3, 9), (1, 2, 9)])
    def test_it_is_the_median_which_is_in_the_middle_half(self, hours: tuple[int, ...]) -> None:
        """Also of two, or of any even number."""
        earlier = [replace(HOUR, task_seconds=3600.0 * each) for each in hours]
        found = estimate_of(earlier, "pricing.handler", 3600, PRICES, "default")
        assert found.cost is not None
        assert found.low <= found.cost.total <= found.high
        assert found.cost.total == pytest.approx(median(cost_of(each, PRICES).total for each in earlier))
        assert found.task_seconds == pytest.approx(3600 * median(hours))

    def test_what_is_behind_the_latest_is_not_read(self) -> None:
        """Each hundred of them is a call on AWS."""
        earlier = iter([HOUR] * 50)
        assert estimate_of(earlier, "pricing.handler", 3600, PRICES, "default").sessions == EARLIER
        assert len(list(earlier)) == 50 - EARLIER

    def test_it_is_of_the_pool_that_is_asked_for(self) -> None:
        prices = replace(PRICES, pools={"spot": 0.0})
        found = estimate_of([HOUR], "pricing.handler", 3600, prices, "spot")
        assert found.cost is not None
        assert found.cost.compute == 0.0


NOW = 1_796_000_000.0  # 2026-11-30


class TestPeriods:
    @pytest.mark.parametrize(
        ("since", "until"), [(None, None), (None, "2026-11-03"), ("2026-11-03", "2026-11-03"), ("2026-11-03", None)]
    )
    def test_a_month_is_asked_for_as_it_is(self, since: str | None, until: str | None) -> None:
        assert periods(since, until, NOW) == [(since, until)]

    @given(strategies.integers(20_100, 20_400), strategies.integers(0, 200))
    def test_each_day_is_asked_for_once_newest_first(self, first: int, days: int) -> None:
        of_day = [rfc3339((first + day) * 86400.0)[:10] for day in range(days + 1)]
        found = periods(of_day[0], of_day[-1], first * 86400.0)
        asked: list[str] = []
        for begin, end in found:
            assert begin is not None
            assert end is not None
            within = [day for day in of_day if begin <= day <= end]
            assert 1 <= len(within) <= 30
            asked = within + asked
        assert asked == of_day

    def test_nobody_asks_for_days_that_are_forgotten(self) -> None:
        assert periods("0001-01-01", None, NOW)[-1][0] == "2025-10-25"
        assert periods("1990-01-01", "2000-01-01", NOW) == [("2000-01-01", "2000-01-01")]

    @pytest.mark.parametrize("since", ["soon", "2026-02-30", "2026-12-24"])
    def test_what_is_no_range_is_the_grids_to_refuse(self, since: str) -> None:
        assert periods(since, None, NOW) == [(since, None)]


class TestPrices:
    @pytest.mark.parametrize(
        "text",
        ["no JSON", "[]", '{"core_hours": 1}', '{"core_hour": -1}', '{"core_hour": "1"}', '{"core_hour": true}',
         '{"pools": {"default": "x"}}', '{"pools": 1}', '{"region": 1}', '{"sources": {}}', '{"s3_put": 1e999}'],
    )  # fmt: skip
    def test_what_is_no_price_is_refused(self, text: str) -> None:
        with pytest.raises(InvalidInput, match="file of prices"):
            PRICES.corrected(text)

    def test_a_file_corrects_what_it_names(self, tmp_path: Path) -> None:
        file = tmp_path / "prices.json"
        file.write_text(json.dumps({"region": "eu-west-1", "dated": "2026-12", "core_hour": 0.04}))
        found = kept.prices({"HTCGRID_PRICES": str(file)}, PRICES)
        assert found == replace(PRICES, region="eu-west-1", dated="2026-12", core_hour=0.04)
        assert kept.prices({}, PRICES) is PRICES

    def test_a_file_that_is_not_there_is_told_by_name(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match=r"HTCGRID_PRICES.*none\.json"):
            kept.prices({"HTCGRID_PRICES": str(tmp_path / "none.json")}, PRICES)


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan", "40000"])
def test_days_of_the_audit_that_are_none(text: str) -> None:
    with pytest.raises(InvalidInput, match="HTCGRID_AUDIT_DAYS"):
        kept.audit_seconds({"HTCGRID_AUDIT_DAYS": text})


def test_days_of_the_audit() -> None:
    assert kept.audit_seconds({"HTCGRID_AUDIT_DAYS": "30"}) == 30 * 86400
    assert kept.audit_seconds({}) == 400 * 86400
    assert kept.audit_seconds({}, 90.0) == 90 * 86400


class TestSpent:
    def test_what_was_kept_comes_back(self) -> None:
        spent = replace(HOUR, labels={"desk": "rätes"}, kept_seconds=7.5)
        assert Spent.read(spent.text()) == spent

    def test_what_another_release_says_besides_is_left_out(self) -> None:
        told = json.loads(HOUR.text())
        told["carbon"], told["usage"]["hops"] = 1, 2
        del told["usage"]["commits"]
        assert Spent.read(json.dumps(told)) == replace(HOUR, usage=replace(HOUR.usage, commits=0))

    def test_a_session_whose_specification_is_damaged_took_something_too(self) -> None:
        record = SessionRecord("s-1", SessionState.RUNNING, "{", "", Counters(4, 1, 1), 0.0, 0.0)
        assert (record.spent.function, record.spent.tasks, dict(record.spent.labels)) == ("", 2, {})


@given(strategies.integers(-30_000, 60_000))
def test_days_and_their_beginnings(day: int) -> None:
    text = rfc3339(day * 86400.0)[:10]
    assert seconds_of_day(text) == day * 86400.0
    assert day_after(text) == seconds_of_day(rfc3339((day + 1) * 86400.0)[:10])


@pytest.mark.parametrize("text", ["2026-02-29", "2026-13-01", "2026-00-10", "2026-04-31"])
def test_days_that_are_not(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        seconds_of_day(text)
