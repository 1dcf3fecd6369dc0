"""An agent of an embedded grid that serves its metrics, and its page as Prometheus reads it."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families

GUARD_SECONDS = 60.0
OPEN_METRICS = {"Accept": "application/openmetrics-text;version=1.0.0"}


@contextmanager
def serving_agent(url: str, *more: str) -> Iterator[str]:
    """One in the foreground; where its pages are."""
    command = [sys.executable, "-m", "htcgrid_core", "agent", "--url", url, "--health", "0", "--json", *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://{json.loads(process.stdout.readline())['health']}"
        process.terminate()
        assert process.wait(GUARD_SECONDS) == 0


def samples(address: str) -> dict[str, list[Any]]:
    """Every sample of its page, by name."""
    with urllib.request.urlopen(urllib.request.Request(f"{address}/metrics", headers=OPEN_METRICS)) as answer:
        page = answer.read().decode()
    found: dict[str, list[Any]] = {}
    for family in text_string_to_metric_families(page):  # type: ignore[no-untyped-call]  # it has no types
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


def total(found: dict[str, list[Any]], name: str, **labels: str) -> float:
    """The sum of the series of a name that have these labels."""
    return float(sum(s.value for s in found[name] if labels.items() <= s.labels.items()))
