"""What axe-core finds in every view, in both themes and at a phone's width: nothing that is serious, or worse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from htcgrid_core import Grid, RetryPolicy
from tests.browser import needs_chromium, picture
from tests.console.looking import Console
from tests.console.submitting import submit

AXE = Path(__file__).parents[2] / ".axe/node_modules/axe-core/axe.min.js"
pytestmark = [
    needs_chromium,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: `make .axe/ready` installs it, with npm"),
]
EXAMINE = """
const done = arguments[arguments.length - 1];
axe.run(document, { resultTypes: ["violations"] }).then(
  ({ violations }) => done(JSON.stringify(violations)), (error) => done(String(error)));
"""


def violations(console: Console) -> list[str]:
    """Those that are serious, or critical."""
    console.run(AXE.read_text())  # evaluated by the driver: the page's policy lets no script in
    told = console.browser.execute_async_script(EXAMINE)
    found: list[dict[str, Any]] = json.loads(told)
    return [
        f"{one['id']}: {node['html'][:200]}: {node['failureSummary']}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_view_can_be_used_by_everybody(console: Console, grid: Grid, theme: str, tmp_path: Path) -> None:
    retry = RetryPolicy(max_attempts=2, backoff_base_seconds=0)
    events = [1, {"print": "said", "from_attempt": 2, "raise": "no"}]
    labels = {"desk": "rates", "airflow.dag": "a", "airflow.run": "b"}
    ended = submit(grid, events, name=f"examined-{theme}", labels=labels, retry=retry)
    ended.wait()
    other = submit(grid, events, name="beside")
    other.wait()
    gate = tmp_path / "gate"
    running = submit(grid, [1, {"until": str(gate)}], name="runs")
    emulated = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    console.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", emulated)
    try:
        for path, words in (
            ("", ("runs", "beside")),
            ("?since=span", ("a page", "beside")),
            (f"sessions/{ended.id}?task=1", ("Attempts: 2", "Input", "Slowest tasks", "Who did what", "DAG run")),
            (f"sessions/{running.id}", ("1 of 2 tasks", "Cancel…", "Who did what")),
            (f"compare?a={ended.id}", ("Compare", "beside")),
            (f"compare?a={ended.id}&b={other.id}", ("Failed in both", "Durations")),
            ("agents", ("Heard of", "task 1 of")),
            ("queues", ("Pools",)),
            ("functions", ("No function",)),
            ("costs", ("Together",)),
            ("audit", ("sign-in", "Export all")),
        ):
            console.open(path)
            console.until(*words)
            assert violations(console) == [], path
            picture(console.browser, f"axe-{path.partition('?')[0].partition('/')[0] or 'list'}-{theme}")
        console.open(f"sessions/{running.id}")
        console.click("button", "Cancel…")
        console.until("Keep it")
        assert violations(console) == [], "the question"
    finally:
        gate.touch()
        running.wait()
        console.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_who_signs_in_can_too(console: Console) -> None:
    console.open("nowhere")
    console.until("There is nothing at this address")
    assert violations(console) == []
    console.run("localStorage.clear()")
    console.open()
    console.until("Sign in")
    try:
        assert violations(console) == []
    finally:
        console.complaints()
