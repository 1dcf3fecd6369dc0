"""``make bench-dashboards``: the console's page of a session, Dask's and Ray's pages, of as many tasks.

For each, in the same Chromium: milliseconds from navigation to the first useful paint, memory that the browser takes
more than for an empty page, and CPU of what schedules (for the grid: of its server) without and with the page open.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

from htcgrid_core import connect
from tests.browser import browsing, text_of
from tests.e2e.support import fresh_grid
from tests.served import serving

HERE = Path(__file__).parent
PAINT_SECONDS = 180.0
MEGABYTE = 1 << 20
# The browser is nobody's that has signed in there; and a machine may be busy.
RAY = {"RAY_AUTH_MODE": "disabled", "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "600", "RAY_agent_register_timeout_ms": "600000"}
Busy = dict[str, Any]  # url, pids of what schedules, and a script's expression that is true once the page is of use


@contextmanager
def grid(tasks: int) -> Iterator[Busy]:
    """A served grid, with a session of tasks of 10 ms."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-dashboards-") as folder,
        fresh_grid(Path(folder) / "grid") as url,
        serving(url, Path(folder) / "keys.json") as server,
        connect(url) as connected,
    ):
        session = connected.submit("htcgrid_core.testing.handlers.task", [{"sleep": 0.01}] * tasks)
        ready = f"Number(document.querySelector('canvas')?.dataset.painted) === {tasks}"
        yield {
            "url": f"{server.url}/console/sessions/{session.id}",
            "sign_in": server.console,
            "pids": [server.process.pid],
            "ready": ready,
        }
        session.cancel()


@contextmanager
def peer(python: Path, script: str, tasks: int) -> Iterator[Busy]:
    """Another engine, in a process of its own."""
    process = subprocess.Popen(
        [python, HERE / script, str(tasks)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **RAY},
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        line = next((line for line in process.stdout if line.startswith("{")), "")
        if not line:
            raise RuntimeError(f"{script} ended before it was ready")
        yield json.loads(line)
        process.stdin.write("\n")
        process.stdin.flush()
    finally:
        process.terminate()
        process.wait(60)


def cpu_seconds(pids: list[int]) -> float:
    """Of processes, without their children."""
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids if psutil.pid_exists(pid))


def share(pids: list[int], seconds: float) -> float:
    """Of a core, over so long."""
    before, began = cpu_seconds(pids), time.perf_counter()
    time.sleep(seconds)
    return (cpu_seconds(pids) - before) / (time.perf_counter() - began)


def browser_megabytes(browser: WebDriver) -> float:
    """Of all its processes, what nobody else has."""
    driver = psutil.Process(browser.service.process.pid)
    return sum(one.memory_full_info().uss for one in driver.children(recursive=True)) / MEGABYTE


def look(busy: Busy, seconds: float) -> tuple[float, float, float, float]:
    """Open the page of what is busy, and watch: paint (ms), memory (MB), load without and with it."""
    with tempfile.TemporaryDirectory() as profile, browsing(Path(profile)) as browser:
        browser.set_script_timeout(PAINT_SECONDS)  # a page may be too busy to answer
        if "sign_in" in busy:
            browser.get(busy["sign_in"])
            WebDriverWait(browser, PAINT_SECONDS, 0.05).until(lambda it: "Sessions" in text_of(it))
            browser.get("about:blank")
        time.sleep(2)
        alone, empty = share(busy["pids"], seconds), browser_megabytes(browser)
        browser.get(busy["url"])
        painted = f"return ({busy['ready']}) ? performance.now() : null"
        found = WebDriverWait(browser, PAINT_SECONDS, 0.05).until(lambda it: it.execute_script(painted))
        watched = share(busy["pids"], seconds)
        return float(found), browser_megabytes(browser) - empty, alone, watched


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--only", choices=("grid", "Dask", "Ray"), nargs="+", default=("grid", "Dask", "Ray"))
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement of load")
    parser.add_argument(
        "--python", type=Path, help="that has distributed, bokeh and ray[default]; none: the grid alone"
    )
    options = parser.parse_args()
    subjects = {"grid": grid(options.tasks)}
    if options.python is not None:
        subjects["Dask"] = peer(options.python, "dask_page.py", options.tasks)
        subjects["Ray"] = peer(options.python, "ray_page.py", options.tasks)
    headings = "first useful paint, ms", "the browser's memory, MB", "load without, % of a core", "with the page, %"
    table = Table("page", *headings, title=f"{options.tasks:,} tasks of 10 ms, two workers", title_justify="left")
    for name, running in subjects.items():
        if name not in options.only:
            continue
        print(name, file=sys.stderr)
        try:
            with running as busy:
                paint, memory, alone, watched = look(busy, options.seconds)
        except Exception as error:
            table.add_row(name, f"{type(error).__name__}: {error}"[:200], "", "", "")
        else:
            table.add_row(name, f"{paint:,.0f}", f"{memory:.0f}", f"{alone:.1%}", f"{watched:.1%}")
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
