"""Series of running agents on Prometheus: a grid of its own, its agents, sessions, and what is seen of them."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from htcgrid_core import Grid, RetryPolicy, connect
from htcgrid_core.domain.metrics import CATALOGUE
from tools.monitoring.dashboards import DASHBOARDS
from tools.monitoring.prometheus import Prometheus, installed, running

AGENTS, SLOTS = 2, 2
GUARD_SECONDS = 120.0
# What no grid on one machine has: calls to AWS, and its queues.
AWS_ALONE = re.compile("htcgrid_(aws|queue_messages|agents_most)")


def work(event: float) -> float:
    """Take a moment; now and then fail."""
    time.sleep(0.02 * event)
    if event > 0.97:
        raise ValueError("too much")
    return event


def main() -> int:
    """Run; 1 if a series is missing, or Prometheus is."""
    parser = argparse.ArgumentParser(prog="make monitoring", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end when all has been seen, instead of at Ctrl-C")
    once = parser.parse_args().once
    with tempfile.TemporaryDirectory(prefix="htcgrid-monitoring-") as name, ExitStack() as undo:
        folder = Path(name)
        url = f"local://{folder / 'grid'}"
        try:
            installed()
            agents = [undo.enter_context(_agent(url)) for _ in range(AGENTS)]
            prometheus = undo.enter_context(running(folder, agents))
            grid = undo.enter_context(connect(url))
            _say(f"{AGENTS} agents of {url}: {', '.join(agents)}")
            missing = _seen(grid, prometheus)
            _show(prometheus, missing)
            while not once:
                _session(grid)
        except RuntimeError as error:
            _say(str(error))
            return 1
        except KeyboardInterrupt:
            _say("")
        return int(bool(missing))


@contextmanager
def _agent(url: str) -> Iterator[str]:
    """One in the foreground; where its metrics are."""
    command = [
        sys.executable,
        "-m",
        "htcgrid_core",
        "agent",
        "--url",
        url,
        "--slots",
        str(SLOTS),
        "--health",
        "0",
        "--json",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("an agent did not start")
        try:
            yield str(json.loads(line)["health"])
        finally:
            process.terminate()


def _session(grid: Grid) -> None:
    retry = RetryPolicy(max_attempts=2, backoff_base_seconds=0)
    grid.submit(work, [number / 100 for number in range(100)], name="monitoring", retry=retry).wait()


def _seen(grid: Grid, prometheus: Prometheus) -> list[str]:
    """Run sessions until every agent is seen, and every query of the dashboards has series; those that have none."""
    of_this_grid = [expression for expression in _queries() if not AWS_ALONE.search(expression)]
    wanted = [f"count(up == 1) == {AGENTS}", *of_this_grid]
    deadline, missing = time.monotonic() + GUARD_SECONDS, wanted
    while missing and time.monotonic() < deadline:
        _session(grid)
        missing = [expression for expression in missing if not prometheus.query(expression)]
    return missing


def _show(prometheus: Prometheus, missing: Sequence[str]) -> None:
    for metric in CATALOGUE:
        series = prometheus.query(f"{metric.name}_count" if metric.buckets else metric.name)
        if series:
            total = sum(float(one["value"][1]) for one in series)
            what = "values" if metric.buckets else metric.unit
            _say(f"{metric.name:36} {metric.kind:9} {len(series):3} series, together {total:,.6g} {what}")
    queries = list(_queries())
    answered = sum(bool(prometheus.query(expression)) for expression in queries)
    _say(f"{answered} of {len(queries)} queries of the dashboards have series; the others ask of AWS")
    states = prometheus.alerts()
    firing = [name for name, state in states.items() if state == "firing"]
    _say(f"{len(states)} alert rules, firing: {', '.join(firing) or 'none'}")
    exemplars = [one for series in prometheus.exemplars("htcgrid_task_seconds_bucket") for one in series["exemplars"]]
    if exemplars:
        _say(f"the slowest task of a commit: {exemplars[-1]['labels']}")
    for expression in missing:
        _say(f"no series: {expression}")
    _say(f"Prometheus: {prometheus.address}")


def _queries() -> Iterator[str]:
    """Those of the dashboards, where nothing is chosen."""
    for dashboard in DASHBOARDS:
        for row in dashboard.rows:
            for panel in row.panels:
                yield from (_concrete(query.expression) for query in panel.queries)


def _concrete(expression: str) -> str:
    return re.sub(r"\$(grid|region|pool)", ".*", expression.replace("$__rate_interval", "1m"))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
