"""The map of very many tasks: opened, panned and zoomed; its times are printed, and none is a condition."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.keys import Keys

from htcgrid_core import Grid
from tests.browser import needs_chromium, picture
from tests.console.looking import Console
from tests.console.many import BUNDLE, POOL, many_tasks, plane_of
from tests.manual_agent import submit
from tests.planes import spec

pytestmark = [needs_chromium, pytest.mark.timeout(600)]
PAINTED = "Number(document.querySelector('canvas')?.dataset.painted || 0)"
STATES = "performance.getEntriesByType('resource').filter((entry) => entry.name.endsWith('/states'))"
PAN = """
const [done] = arguments;
const canvas = document.querySelector("canvas");
const box = canvas.getBoundingClientRect();
const send = (kind, x) => canvas.dispatchEvent(
  new PointerEvent(kind, { clientX: box.left + x, clientY: box.top + 100, pointerId: 1 }));
canvas.setPointerCapture = () => {};
const frames = [];
let last = performance.now(), n = 0;
send("pointerdown", 700);
const step = (now) => {
  frames.push(now - last);
  last = now;
  send("pointermove", 700 - 3 * n);
  n += 1;
  if (n < 100) requestAnimationFrame(step);
  else { send("pointerup", 0); done(frames.slice(1).sort((a, b) => a - b)); }
};
requestAnimationFrame(step);
"""
RED = """
const canvas = document.querySelector("canvas");
const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
let found = 0;
for (let at = 0; at < data.length; at += 4) found += data[at] > 180 && data[at + 1] < 120 && data[at + 2] < 120;
return found;
"""


@pytest.mark.parametrize("count", [100_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_its_map_is_whole_and_moves(console: Console, grid: Grid, count: int) -> None:
    failed = {count // 3}
    record = many_tasks(grid, f"s-many{count}", count, done=count // BUNDLE // 2, failed=failed)
    console.open(f"sessions/{record.session_id}")
    console.until_true(f"{PAINTED} === {count}")
    console.until("failed 1")
    (opened,) = console.run(f"return [{STATES}[0].responseEnd]")
    entries = console.run(f"return {STATES}.map((entry) => [entry.transferSize, entry.decodedBodySize])")
    print(f"{count:,} tasks: their states were there {opened:.0f} ms after navigation, in {entries[0][0]:,} bytes")
    assert entries[0][1] == count
    assert entries[0][0] < count / 20, "alike as they are, a twentieth of a byte for each"
    assert console.run(RED) > 0, "one failed task is seen among all"
    picture(console.browser, f"many-{count}")
    canvas = console.find("canvas")
    canvas.send_keys("n")
    console.until(f"Task {count // 3:,}: failed")
    for _ in range(12):
        canvas.send_keys("+")
    before = console.run("return document.querySelector('canvas').dataset.view")
    frames = console.browser.execute_async_script(PAN)
    median, late, last = frames[len(frames) // 2], frames[-5], frames[-1]
    print(f"frames of panning: {median:.1f} ms median, {late:.1f} ms p95, {last:.1f} ms most")
    assert console.run("return document.querySelector('canvas').dataset.view") != before
    canvas.send_keys(Keys.ENTER)
    console.until("ValueError", "Input")


def test_a_page_of_a_thousand_sessions(console: Console, grid: Grid) -> None:
    """What has not changed in it is not drawn again."""
    plane = plane_of(grid)
    for number in range(1000):
        of = spec(pool=POOL, name=f"thousand-{number}", labels={"desk": f"desk-{number % 7}"})
        submit(plane, f"s-thousand-{number}", of, [], idempotent=False, durable=False)
    console.open("?text=thousand-&show=1000")
    rows = "document.querySelectorAll('tbody tr')"
    console.until_true(f"{rows}.length === 1000")
    print(f"1,000 sessions were seen {console.run('return performance.now()'):,.0f} ms after navigation")
    console.run(f"window.kept = {rows}[500]")
    submit(plane, "s-thousand-new", spec(pool=POOL, name="thousand-and-one"), [], idempotent=False, durable=False)
    console.until_true("document.querySelector('tbody a.name').innerText === 'thousand-and-one'")
    assert console.run(f"return {rows}.length === 1000 && [...{rows}].indexOf(window.kept) === 501")


def test_its_view_stays_while_it_changes(console: Console, grid: Grid) -> None:
    record = many_tasks(grid, "s-zoomed", 5_000, done=2, failed=set())
    console.open(f"sessions/{record.session_id}")
    console.until_true(f"{PAINTED} === 5000")
    canvas = console.find("canvas")
    canvas.send_keys("+++", Keys.END)
    console.until_true(
        "(([, y, scale]) => y > 0 && scale > 20)(document.querySelector('canvas').dataset.view.split(','))"
    )
    before = console.run("return document.querySelector('canvas').dataset.view")
    console.mark()
    console.until_true(f"{STATES}.length > 2")
    assert console.run("return document.querySelector('canvas').dataset.view") == before
    console.assert_not_loaded_again()
