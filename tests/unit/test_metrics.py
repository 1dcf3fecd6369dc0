"""Metrics: a catalogue that cannot grow by itself, and what Prometheus gets of it."""

from __future__ import annotations

import math
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from htcgrid_core.adapters.prometheus import PrometheusMetrics
from htcgrid_core.domain import metrics
from htcgrid_core.domain.metrics import CATALOGUE, OTHER, Metric

SERIES = 1000  # that one agent may have; Prometheus holds them for each pod that there ever was


def lines(count: PrometheusMetrics) -> dict[str, float]:
    """Every sample, as it is written."""
    found = {}
    for family in text_string_to_metric_families(count.page().decode()):
        for sample in family.samples:
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
    assert len({metric.name for metric in CATALOGUE}) == len(CATALOGUE)


def test_there_is_no_label_for_what_has_no_bound() -> None:
    """Sessions, bundles, tasks and functions are in the logs."""
    assert {name for metric in CATALOGUE for name in metric.labels} == {
        "outcome", "answer", "reason", "kind", "of", "what", "state", "operation", "queue", "pool", "priority",
    }  # fmt: skip
    series = sum(
        math.prod(len(values) for values in metric.labels.values()) * (len(metric.buckets) + 4) for metric in CATALOGUE
    )
    assert series < SERIES


def test_counters_and_histograms() -> None:
    count = PrometheusMetrics()
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
    count = PrometheusMetrics()
    for number in range(50):
        count.add(metrics.AWS_CALLS, operation=f"Operation{number}", answer="ok")
    found = {name: value for name, value in lines(count).items() if name.startswith("htcgrid_aws_calls_total")}
    assert found == {f"htcgrid_aws_calls_total{{answer=ok,operation={OTHER}}}": 50}


def test_gauges_are_read_when_they_are_asked_for() -> None:
    count, busy = PrometheusMetrics(), [1]
    count.read(metrics.SLOTS_BUSY, lambda: busy[0])
    assert lines(count)["htcgrid_slots_busy"] == 1
    busy[0] = 7
    assert lines(count)["htcgrid_slots_busy"] == 7
    assert "htcgrid_slots" not in lines(count)


def test_what_somebody_else_sees_anew_by_then_vanishes() -> None:
    count = PrometheusMetrics()
    count.show(metrics.TASKS_PENDING, 12.0, seconds=1000.0)
    count.show(metrics.OLDEST_SESSION_SECONDS, 3.0, seconds=0.0)
    found = lines(count)
    assert found["htcgrid_tasks_pending"] == 12
    assert "htcgrid_oldest_session_seconds" not in found


@pytest.mark.parametrize("metric", every_metric("counter") + every_metric("histogram"), ids=lambda m: m.name)
def test_every_metric_can_be_counted(metric: Metric) -> None:
    count = PrometheusMetrics()
    labels = {name: values[0] for name, values in metric.labels.items()}
    if metric.kind == "counter":
        count.add(metric, 1, **labels)
    else:
        count.observe(metric, [1.0], **labels)
    assert any(name.startswith(metric.name) and value == 1 for name, value in lines(count).items())
