"""A million events in parts that went past the server: what making a session of them takes."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
import urllib.request

import pytest

from htcgrid_core.client.handlers import reference
from htcgrid_core.domain.session import SessionSpec
from htcgrid_core.gateway.opening import open_served
from htcgrid_core.services.asked import Asked
from htcgrid_core.services.direct_parts import DirectPart
from tests.aws.grids import CloudUnderTest

SESSION = "s-a-million-lines"
PARTS, LINES = 5, 200_000
MEGABYTE = 1 << 20


# A process's own peak: what wait4 tells is at least as much as its parent had.
TICK = """
import runpy, sys, time
sys.argv = ["htcgrid", "reconcile"]
try:
    runpy.run_module("htcgrid_core.cli.main", run_name="__main__")
finally:
    (peak,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
    print(f"{time.process_time()} {int(peak) / 1024}")
"""


def reconciled(grid: CloudUnderTest) -> tuple[float, float]:
    """One tick in a process of its own: its CPU seconds, and the most memory that it had (MB)."""
    environment = {**grid.environment, "HTCGRID_URL": grid.url}
    said = subprocess.run([sys.executable, "-c", TICK], env=environment, capture_output=True, text=True, timeout=600)
    assert said.returncode == 0, said.stderr
    cpu, peak = said.stdout.split()[-2:]
    return float(cpu), float(peak)


@pytest.mark.slow
def test_a_million_lines_become_a_session_in_bounded_memory(aws_cloud: CloudUnderTest) -> None:
    served = open_served(aws_cloud.url)
    spec = SessionSpec(function=reference("tests.e2e.handlers.echo", None))
    served.start_upload(SESSION, Asked(spec, actor="desk"))
    sent, largest = 0, 0
    for number in range(PARTS):
        filler = "x" * 60
        lines = [f'{{"notional": {number * LINES + n}, "book": "{filler}"}}\n' for n in range(LINES)]
        body = "".join(lines).encode()
        sent, largest = sent + len(body), max(largest, len(body))
        part = DirectPart(number, len(body), hashlib.sha256(body).hexdigest(), "application/x-ndjson")
        url = served.part_url(SESSION, part)
        request = urllib.request.Request(url.url, body, dict(url.headers), method="PUT")
        urllib.request.urlopen(request, timeout=600).close()
    _, idle = reconciled(aws_cloud)
    served.seal(SESSION, PARTS)
    began = time.monotonic()
    cpu, peak = reconciled(aws_cloud)
    seconds = time.monotonic() - began
    record = served.gateway.session(SESSION)
    assert record.acknowledged
    assert record.counters.total == PARTS * LINES
    print(
        f"\n{record.counters.total:,} lines, {sent / MEGABYTE:.0f} MB in {PARTS} parts: {seconds:.0f} s, "
        f"{cpu:.0f} s of CPU, {peak - idle:.0f} MB more than a tick without them"
    )
    assert peak - idle < 3 * largest / MEGABYTE + 64
    served.gateway.close()
