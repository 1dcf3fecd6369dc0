"""What an agent of an embedded grid tells Prometheus of sessions that it ran."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from htcgrid_core import Grid, RetryPolicy, connect
from htcgrid_core.adapters.prometheus import PrometheusMetrics
from htcgrid_core.domain import limits
from htcgrid_core.domain.costs import cost_of
from htcgrid_core.domain.errors import InvalidInput
from htcgrid_core.domain.lifecycle import SessionEvent
from htcgrid_core.domain.prices import PRICES, Prices
from htcgrid_core.domain.trace import of_session
from htcgrid_core.ports.plane import Plane
from htcgrid_core.ports.session_store import AgentRecord
from htcgrid_core.services.finalize import announce
from htcgrid_core.services.reconcile import reconcile
from tests.e2e.support import ended, eventually
from tests.manual_agent import submit
from tests.planes import ManualClock, memory_plane, spec
from tests.telemetry.scraping import samples, serving_agent, total


def _once(grid: Grid, how: str) -> None:
    twice = RetryPolicy(max_attempts=2, backoff_base_seconds=0)
    ended(grid.submit("tests.e2e.handlers.misbehave", [{"how": how, "n": 0}], retry=twice, task_timeout=0.5))


def test_what_an_agent_did_stands_on_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRACEPARENT", raising=False)
    url = f"local://{tmp_path / 'grid'}"
    with serving_agent(url, "--slots", "2") as address, connect(url) as grid:
        done = grid.submit("tests.e2e.handlers.double", range(100))
        ended(done)
        for how in ("raise", "exit_hard", "loop"):
            _once(grid, how)
        found = eventually(
            lambda: page if total(page := samples(address), "htcgrid_sessions_ended_total") == 4 else {},
            "all sessions are counted",
        )
        eventually(lambda: "htcgrid_sessions_live" in samples(address), "a tick of the reconciler shows the grid")

    assert {s.labels["grid"] for name in found if name.startswith("htcgrid_") for s in found[name]} == {
        str(tmp_path / "grid")
    }
    assert total(found, "htcgrid_tasks_total", outcome="completed") == 100
    assert total(found, "htcgrid_tasks_total", outcome="failed") == 3
    assert total(found, "htcgrid_tasks_total", outcome="retried") == 3
    kinds = {s.labels["kind"]: s.value for s in found["htcgrid_retries_total"]}
    assert kinds == {"error": 1, "worker": 1, "timeout": 1, "load": 0, "agent": 0}
    assert total(found, "htcgrid_sessions_ended_total", state="COMPLETED") == 1
    assert total(found, "htcgrid_sessions_ended_total", state="FAILED") == 3
    assert total(found, "htcgrid_session_seconds_count") == 4
    assert total(found, "htcgrid_task_seconds_count") == 103
    assert total(found, "htcgrid_queue_wait_seconds_count") >= 4
    assert total(found, "htcgrid_overhead_seconds_total") > 0
    assert total(found, "htcgrid_slots") == 2
    (process,) = found["process_resident_memory_bytes"]
    assert total(found, "htcgrid_memory_bytes") > process.value, "workers count too"
    assert total(found, "htcgrid_memory_limit_bytes") > 0
    slowest = [s.exemplar.labels for s in found["htcgrid_task_seconds_bucket"] if s.exemplar is not None]
    assert slowest
    for labels in slowest:
        assert labels["trace_id"] == of_session(labels["session"], "", "").trace_id
        assert labels.keys() == {"session", "task", "attempt", "trace_id"}


class TestTheGridAsAWhole:
    """As a tick of the reconciler sees it."""

    def test_sessions_by_state_and_age_and_the_backlog(self, tmp_path: Path) -> None:
        clock = ManualClock()
        plane = memory_plane(tmp_path, clock=clock)
        submit(plane, "s-older", spec(priority="high"), range(4), idempotent=False)
        clock.pass_(2 * 86400.0)
        submit(plane, "s-hours", spec(), range(10), idempotent=False)
        plane.store.advance("s-hours", SessionEvent.CANCEL, now=plane.clock.now(), actor="ada")
        clock.pass_(4000.0)
        submit(plane, "s-fresh", spec(), range(3), idempotent=False)
        found = _shown(plane)
        live = {key: value for key, value in found["htcgrid_sessions_live"].items() if value}
        assert live == {("RUNNING", "older"): 1, ("RUNNING", "minute"): 1, ("CANCELLING", "day"): 1}
        assert found["htcgrid_oldest_session_seconds"] == {
            ("RUNNING",): 2 * 86400.0 + 4000.0, ("CANCELLING",): 4000.0, ("SUBMITTED",): 0.0,
        }  # fmt: skip
        assert found["htcgrid_tasks_pending"] == {
            ("default", "high"): 4, ("default", "normal"): 13, ("default", "low"): 0,
        }  # fmt: skip

    def test_a_wrong_file_of_prices_stops_no_end(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """And is in the log once, however many sessions end."""

        def unreadable() -> Prices:
            raise InvalidInput(f"no file of prices in {tmp_path}")

        metrics = PrometheusMetrics("book", "default")
        plane = replace(memory_plane(tmp_path), prices=unreadable, metrics=metrics)
        submit(plane, "s-live", spec(), range(4), idempotent=False)
        for _ in range(3):
            announce(plane, plane.store.session("s-live", plane.clock.now()))
        assert _shown(plane)["htcgrid_live_cost_dollars"] == {(): 0.0}
        assert caplog.text.count(f"no file of prices in {tmp_path}") == 1

    def test_what_it_costs(self, tmp_path: Path) -> None:
        """So far, of what is live; and of what has ended, in parts."""
        plane = replace(memory_plane(tmp_path), prices=lambda: PRICES)
        submit(plane, "s-live", spec(), range(4), idempotent=False)
        record = plane.store.session("s-live", plane.clock.now())
        so_far = cost_of(record.spent, PRICES)
        assert _shown(plane)["htcgrid_live_cost_dollars"] == {(): pytest.approx(so_far.total)}
        count = PrometheusMetrics("book", "default")
        announce(replace(plane, metrics=count), record)
        page = count.page()[1].decode()
        told = {s.labels["part"]: s.value for s in _samples(page) if s.name == "htcgrid_cost_dollars_total"}
        parts = {part: getattr(so_far, part) for part in ("requests", "compute", "storage")}
        assert told == pytest.approx(parts)
        assert parts["requests"] > 0

    def test_agents_that_vanished(self, tmp_path: Path) -> None:
        clock = ManualClock()
        plane = memory_plane(tmp_path, clock=clock)
        for agent, pool in (("lost", "default"), ("left", "default"), ("alive", "default"), ("other", "fast")):
            plane.store.beat(AgentRecord(agent, pool, "host", 1, 4, 0, plane.clock.now()))
        plane.store.forget_agent("left")
        clock.pass_(limits.LEASE_SECONDS + 1.0)
        for agent, pool in (("alive", "default"), ("other", "fast")):
            plane.store.beat(AgentRecord(agent, pool, "host", 1, 4, 0, plane.clock.now()))
        assert _shown(plane)["htcgrid_agents_lost"] == {("default",): 1, ("fast",): 0}
        clock.pass_(10 * limits.LEASE_SECONDS)
        assert "htcgrid_agents_lost" not in _shown(plane), "what vanished long ago is no news"


def _samples(page: str) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(page) for sample in family.samples]


def _shown(plane: Plane) -> dict[str, dict[tuple[str, ...], float]]:
    """The gauges after one tick, by the values of their labels."""
    count = PrometheusMetrics("book", "default")
    reconcile(replace(plane, metrics=count), 10.0)
    return {
        family.name: {
            tuple(s.labels[name] for name in ("state", "age", "pool", "priority") if name in s.labels): s.value
            for s in family.samples
        }
        for family in text_string_to_metric_families(count.page()[1].decode())
        if family.type == "gauge"
    }
