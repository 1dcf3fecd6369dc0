"""A Prometheus of this machine's own, and its API."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.monitoring.files import RULES

START_SECONDS = 60.0
STOP_SECONDS = 20.0
MISSING = "Prometheus is not installed (Debian has it: apt-get install prometheus)"


class Prometheus:
    """One that runs.

    Attributes:
        address: of its page.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What PromQL finds now: labels and value of each series."""
        found: list[dict[str, Any]] = self._get("query", query=expression)["result"]
        return found

    def alerts(self) -> dict[str, str]:
        """Each rule's state: inactive, pending or firing."""
        groups = self._get("rules", type="alert")["groups"]
        return {rule["name"]: rule["state"] for group in groups for rule in group["rules"]}

    def exemplars(self, expression: str) -> list[dict[str, Any]]:
        """Exemplars of a histogram's series."""
        now = time.time()
        found: list[dict[str, Any]] = self._get("query_exemplars", query=expression, start=now - 600, end=now)
        return found

    def _get(self, what: str, **parameters: object) -> Any:
        url = f"{self.address}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - an address of ours
            return json.load(answer)["data"]


def installed() -> str:
    """Where the program is.

    Raises:
        RuntimeError: nowhere.
    """
    program = shutil.which("prometheus")
    if program is None:
        raise RuntimeError(MISSING)
    return program


@contextmanager
def running(folder: Path, agents: Sequence[str]) -> Iterator[Prometheus]:
    """One that scrapes these agents each second, with the rules; on the loopback interface.

    Args:
        folder: where it keeps what it has.
        agents: HOST:PORT of each.

    Raises:
        RuntimeError: it is not installed, or does not start.
    """
    program = installed()
    config, log, address = folder / "prometheus.json", folder / "prometheus.log", f"127.0.0.1:{_free_port()}"
    config.write_text(json.dumps(configuration(agents)))
    command = [
        program, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}",
        "--enable-feature=exemplar-storage", "--log.level=warn",
    ]  # fmt: skip
    with open(log, "wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            _wait_until_ready(process, f"http://{address}", log)
            yield Prometheus(f"http://{address}")
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def configuration(agents: Sequence[str]) -> dict[str, Any]:
    """Its file, as JSON, which is YAML. Nothing is relabelled: agents say of which grid and pool they are."""
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "htcgrid", "static_configs": [{"targets": list(agents)}]}],
    }


def _wait_until_ready(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/-/ready", timeout=5):  # noqa: S310 - an address of ours
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"Prometheus did not start: {log.read_text(errors='replace')[-800:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
