"""The pages that an agent serves, as a probe and as Prometheus see them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from htcgrid_core.domain.metrics import CATALOGUE, Metric
from tests.e2e.support import eventually

OF_POOLS = {metric.name for metric in CATALOGUE if "pool" in metric.labels}


class Pages:
    """Of the agent that writes ``log``, started with ``--health 0 --json``."""

    def __init__(self, log: Path) -> None:
        eventually(lambda: _announced(log), "the agent says where its pages are")
        self._root = f"http://{_announced(log)}"

    def get(self, path: str) -> tuple[int, str]:
        """Status and body."""
        try:
            with urllib.request.urlopen(self._root + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def is_ready(self) -> bool:
        """Whether it can claim."""
        return self.get("/readyz")[0] == 200

    def series(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Every sample by its name and labels, but for those that say whose it is."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        return {
            (sample.name, tuple(sorted(_own(sample).items()))): sample.value
            for family in families
            for sample in family.samples
        }

    def value(self, metric: Metric, **labels: str) -> float:
        """One sample of a counter or gauge; 0 if there is none yet."""
        return self.series().get((metric.name, tuple(sorted(labels.items()))), 0.0)


def _own(sample: Sample) -> dict[str, str]:
    whose = {"grid", "region"} | (set() if sample.name in OF_POOLS else {"pool"})
    return {name: value for name, value in sample.labels.items() if name not in whose}


def _announced(log: Path) -> str:
    for line in log.read_text().splitlines() if log.exists() else ():
        if line.startswith("{") and "health" in line:
            return str(json.loads(line).get("health", ""))
    return ""
