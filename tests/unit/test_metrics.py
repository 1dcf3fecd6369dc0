"""Metrics: a catalogue that cannot grow by itself, and what Prometheus gets of it."""

from __future__ import annotations

import math
import re

import pytest
from prometheus_client import Metric as Family
from prometheus_client.openmetrics import parser
from prometheus_client.parser import text_string_to_metric_families

from htcgrid_core.adapters.prometheus import PrometheusMetrics
from htcgrid_core.domain import metrics
from htcgrid_core.domain.metrics import CATALOGUE, OTHER, Metric
from htcgrid_core.ports.metrics import Example

SERIES = 1100  # that one agent may have; Prometheus holds them for each pod that there ever was


def lines(count: PrometheusMetrics) -> dict[str, float]:
    """Every sample, as it is written."""
    found = {}
    for family in text_string_to_metric_families(count.page()[1].decode()):
        for sample in family.samples:
            whose = {name: sample.labels.pop(name) for name in ("grid", "pool") if name in sample.labels}
            assert whose.get("grid", "book") == "book"
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def every_metric(kind: str) -> list[Metric]:
    return [metric for metric in CATALOGUE if metric.kind == kind]


def test_names_follow_prometheus() -> None:
    for metric in CATALOGUE:
        assert re.fullmatch(r"htcgrid_[a-z_]+", metric.name)
        assert (metric.kind == "counter") == metric.name.endswith("_total")
        assert (metric.kind == "histogram") == bool(metric.buckets)
        assert list(metric.buckets) == sorted(metric.buckets)
        assert metric.help
        assert not metric.help.endswith(".")
        assert "_seconds" not in metric.name or metric.unit == "seconds"
        assert metric.name.endswith("_bytes") == (metric.unit == "bytes")
    assert len({metric.name for metric in CATALOGUE}) == len(CATALOGUE)
    assert len({metric.cloudwatch_name for metric in CATALOGUE}) == len(CATALOGUE)


def test_there_is_no_label_for_what_has_no_bound() -> None:
    """Sessions, bundles, tasks and functions are in the logs."""
    assert {name for metric in CATALOGUE for name in metric.labels} == {
        "outcome", "answer", "reason", "kind", "of", "what", "state", "age", "part", "operation", "queue", "pool",
        "priority",
    }  # fmt: skip
    series = sum(
        math.prod(len(values) for values in metric.labels.values()) * (len(metric.buckets) + 4) for metric in CATALOGUE
    )
    assert series < SERIES


def test_counters_and_histograms() -> None:
    count = PrometheusMetrics("book", "default")
    count.add(metrics.TASKS, 3, outcome="completed")
    count.add(metrics.TASKS, outcome="completed")
    count.add(metrics.COMMITS)
    count.observe(metrics.TASK_SECONDS, [0.002, 0.002, 5.0])
    found = lines(count)
    assert found["htcgrid_tasks_total{outcome=completed}"] == 4
    assert found["htcgrid_commits_total"] == 1
    assert found["htcgrid_task_seconds_bucket{le=0.003}"] == 2
    assert found["htcgrid_task_seconds_count"] == 3


def test_a_value_that_the_catalogue_does_not_know_makes_no_series_of_its_own() -> None:
    count = PrometheusMetrics("book", "default")
    for number in range(50):
        count.add(metrics.AWS_CALLS, operation=f"Operation{number}", answer="ok")
    found = {name: value for name, value in lines(count).items() if name.startswith("htcgrid_aws_calls_total")}
    assert found == {f"htcgrid_aws_calls_total{{answer=ok,operation={OTHER}}}": 50}


def test_gauges_are_read_when_they_are_asked_for() -> None:
    count, busy = PrometheusMetrics("book", "default"), [1]
    count.read(metrics.SLOTS_BUSY, lambda: busy[0])
    assert lines(count)["htcgrid_slots_busy"] == 1
    busy[0] = 7
    assert lines(count)["htcgrid_slots_busy"] == 7
    assert "htcgrid_slots" not in lines(count)


def test_what_somebody_else_sees_anew_by_then_vanishes() -> None:
    count = PrometheusMetrics("book", "default")
    count.show(metrics.AGENTS_LOST, 12.0, seconds=1000.0, pool="default")
    count.show(metrics.OLDEST_SESSION_SECONDS, 3.0, seconds=0.0, state="RUNNING")
    found = lines(count)
    assert found["htcgrid_agents_lost"] == 12
    assert not [name for name in found if name.startswith("htcgrid_oldest_session_seconds")]


def test_whose_a_series_is_stands_on_it() -> None:
    """So that no scraper need say it, and rules can keep grids apart. The grid as a whole is of no agent's pool."""
    count = PrometheusMetrics("book", "fast")
    count.read(metrics.SLOTS, lambda: 4)
    count.show(metrics.SESSIONS_LIVE, 2.0, 1000.0, state="RUNNING", age="hour")
    count.show(metrics.SLOTS_WANTED, 3.0, 1000.0, pool="slow", priority="high")
    page = count.page()[1].decode()
    assert 'htcgrid_slots{grid="book",pool="fast"} 4.0' in page
    assert 'htcgrid_sessions_live{age="hour",grid="book",state="RUNNING"} 2.0' in page
    assert 'htcgrid_slots_wanted{grid="book",pool="slow",priority="high"} 3.0' in page


def test_grids_of_the_same_name_in_two_regions_are_told_apart() -> None:
    count = PrometheusMetrics("book", "fast", "eu-west-1")
    count.read(metrics.SLOTS, lambda: 4)
    count.add(metrics.COMMITS)
    count.show(metrics.SLOTS_WANTED, 3.0, 1000.0, pool="slow", priority="high")
    page = count.page()[1].decode()
    assert 'htcgrid_slots{grid="book",pool="fast",region="eu-west-1"} 4.0' in page
    assert 'htcgrid_commits_total{grid="book",pool="fast",region="eu-west-1"} 1.0' in page
    assert 'htcgrid_slots_wanted{grid="book",pool="slow",priority="high",region="eu-west-1"} 3.0' in page


def test_counters_begin_at_zero() -> None:
    """A counter that is first seen at 1 has not increased, to Prometheus."""
    found = lines(PrometheusMetrics("book", "default"))
    assert found["htcgrid_tasks_total{outcome=failed}"] == 0
    assert found["htcgrid_bundles_lost_total{reason=refused}"] == 0
    assert not [name for name in found if name.startswith("htcgrid_aws_calls_total{")], "88 series of a grid elsewhere"


def open_metrics(page: str) -> list[Family]:
    return list(parser.text_string_to_metric_families(page))  # type: ignore[no-untyped-call]  # it has no types


OPEN_METRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


def test_a_histogram_leads_to_a_task_and_its_trace() -> None:
    count = PrometheusMetrics("book", "default")
    of = {"session": "s-1", "task": "7", "attempt": "2", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}
    count.observe(metrics.TASK_SECONDS, [0.002, 5.0], example=Example(5.0, of))
    kind, page = count.page(OPEN_METRICS)
    assert kind.startswith("application/openmetrics-text")
    samples = [sample for family in open_metrics(page.decode()) for sample in family.samples]
    (exemplar,) = [sample.exemplar for sample in samples if sample.exemplar is not None]
    assert (exemplar.value, exemplar.labels) == (5.0, of)
    assert b"trace_id" not in count.page()[1], "the older format has no exemplars"


def test_an_example_that_has_no_room_is_cut_to_its_trace() -> None:
    count = PrometheusMetrics("book", "default")
    of = {"session": f"{'t' * 32}.{'s' * 64}", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}
    count.observe(metrics.TASK_SECONDS, [5.0], example=Example(5.0, of))
    samples = [s for family in open_metrics(count.page(OPEN_METRICS)[1].decode()) for s in family.samples]
    assert [s.exemplar.labels for s in samples if s.exemplar] == [{"trace_id": of["trace_id"]}]


@pytest.mark.parametrize("metric", every_metric("counter") + every_metric("histogram"), ids=lambda m: m.name)
def test_every_metric_can_be_counted(metric: Metric) -> None:
    count = PrometheusMetrics("book", "default")
    labels = {name: values[0] for name, values in metric.labels.items()}
    if metric.kind == "counter":
        count.add(metric, 1, **labels)
    else:
        count.observe(metric, [1.0], example=None, **labels)
    assert any(name.startswith(metric.name) and value == 1 for name, value in lines(count).items())
