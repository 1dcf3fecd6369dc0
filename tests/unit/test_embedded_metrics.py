"""The same catalogue as lines of CloudWatch's embedded metric format."""

from __future__ import annotations

import io
import json
import math
from typing import Any

import pytest

from htcgrid_core.adapters.embedded_metrics import EmbeddedMetrics
from htcgrid_core.adapters.prometheus import PrometheusMetrics
from htcgrid_core.adapters.several_metrics import told_to
from htcgrid_core.domain import metrics
from htcgrid_core.domain.metrics import CATALOGUE, Metric
from htcgrid_core.ports.metrics import NO_METRICS, Metrics

BILLED = 150  # metrics that CloudWatch is told of one grid with one pool: each costs money


class Lines:
    """What one process writes."""

    def __init__(self) -> None:
        self.stream, self.now = io.StringIO(), 1000.0
        self.metrics = EmbeddedMetrics("book", "fast", self.stream, wall=lambda: self.now)

    def written(self) -> list[dict[str, Any]]:
        """The lines of one minute, each of which is in the format."""
        self.stream.seek(0)
        self.stream.truncate()
        self.metrics.write()
        found = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        for line in found:
            _is_in_the_format(line)
        return found


def _is_in_the_format(line: dict[str, Any]) -> None:
    """As the specification's JSON schema has it."""
    assert isinstance(line["_aws"]["Timestamp"], int)
    (told,) = line["_aws"]["CloudWatchMetrics"]
    assert told["Namespace"] == "HTCGrid"
    (dimensions,) = told["Dimensions"]
    assert 1 <= len(dimensions) <= 30
    assert all(isinstance(line[name], str) and 1 <= len(line[name]) <= 250 for name in dimensions)
    assert 1 <= len(told["Metrics"]) <= 100
    for metric in told["Metrics"]:
        assert metric["Unit"] in ("Count", "Seconds", "Bytes", "None")
        value = line[metric["Name"]]
        if isinstance(value, dict):
            assert 1 <= len(value["Values"]) == len(value["Counts"]) <= 100
        else:
            assert isinstance(value, int | float)


@pytest.fixture
def lines() -> Lines:
    return Lines()


def test_counters_tell_what_was_added_since(lines: Lines) -> None:
    lines.metrics.add(metrics.TASKS, 3, outcome="completed")
    lines.metrics.add(metrics.TASKS, outcome="completed")
    lines.metrics.add(metrics.COMMITS)
    tasks = {"Grid": "book", "Pool": "fast", "Outcome": "completed", "Tasks": 4.0}
    commits = {"Grid": "book", "Pool": "fast", "Commits": 1.0}
    assert [{name: value for name, value in line.items() if name != "_aws"} for line in lines.written()] == [
        commits,
        tasks,
    ]
    assert lines.written() == []


def test_histograms_tell_how_often_each_bound_was_reached(lines: Lines) -> None:
    lines.metrics.observe(metrics.TASK_SECONDS, [0.002, 0.002, 5.0, 4000.5])
    (line,) = lines.written()
    assert line["TaskSeconds"] == {"Values": [0.003, 10.0, 4001], "Counts": [2.0, 1.0, 1.0]}


def test_gauges_are_read_when_lines_are_written_and_vanish(lines: Lines) -> None:
    busy = [1]
    lines.metrics.read(metrics.SLOTS_BUSY, lambda: busy[0])
    lines.metrics.show(metrics.AGENTS_LOST, 2.0, seconds=30.0, pool="slow")
    busy[0] = 7
    slots, lost = lines.written()
    assert (slots["SlotsBusy"], slots["Pool"]) == (7, "fast")
    assert (lost["AgentsLost"], lost["Pool"]) == (2.0, "slow"), "of the grid as a whole: not the pool of who looks"
    lines.now += 31.0
    assert [line.get("AgentsLost") for line in lines.written()] == [None]


def test_calls_are_told_by_answer_and_not_by_operation(lines: Lines) -> None:
    for operation in ("Query", "PutItem", "NobodyKnows"):
        lines.metrics.add(metrics.AWS_CALLS, operation=operation, answer="ok")
    (line,) = lines.written()
    assert (line["AwsCalls"], line["Answer"]) == (3.0, "ok")
    assert "Operation" not in line


def test_what_costs_money_is_bounded() -> None:
    def series(metric: Metric) -> int:
        kept = {
            name: values for name, values in metric.labels.items() if metric.billed is None or name in metric.billed
        }
        return math.prod(max(1, len(values)) for values in kept.values())

    assert sum(map(series, CATALOGUE)) <= BILLED


def test_one_process_tells_both(lines: Lines) -> None:
    page = PrometheusMetrics("book", "fast")
    both = told_to([page, lines.metrics])
    both.add(metrics.COMMITS)
    both.observe(metrics.TASK_SECONDS, (second for second in (1.0, 2.0)))
    both.read(metrics.SLOTS, lambda: 4)
    both.show(metrics.AGENTS_LOST, 1.0, 1000.0, pool="fast")
    text = page.page()[1].decode()
    for sample in ("commits_total", "task_seconds_count", "slots", "agents_lost"):
        assert f'htcgrid_{sample}{{grid="book",pool="fast"}}' in text
    (line,) = lines.written()
    assert {"Commits", "TaskSeconds", "Slots", "AgentsLost"} <= line.keys()


def test_nobody_and_one_are_what_they_are(lines: Lines) -> None:
    one: Metrics = lines.metrics
    assert told_to([]) is NO_METRICS
    assert told_to([one]) is one
