"""The console in Chromium, as a person sees it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from htcgrid_core import Grid, RetryPolicy
from htcgrid_core.domain import limits
from htcgrid_core.domain.agent import AgentRecord, BegunTask
from tests.browser import needs_chromium, picture, text_of
from tests.console.looking import Console
from tests.console.submitting import HANDLER, submit
from tests.planes import plane_of
from tests.served import Server, key, serving

pytestmark = [needs_chromium, pytest.mark.timeout(300)]


def test_progress_is_seen_without_loading_again(console: Console, grid: Grid, gate: Path) -> None:
    session = submit(grid, [1, 2, {"until": str(gate)}], name="book-today", labels={"desk": "rates"})
    console.open()
    console.click("a.name", "book-today")
    console.until("book-today", "2 of 3 tasks")
    console.mark()
    gate.touch()
    session.wait()
    console.until("COMPLETED", "3 of 3 tasks")
    console.until_true("document.querySelector('canvas').getAttribute('aria-label').includes('3 completed')")
    console.assert_not_loaded_again()


def test_the_list_is_live(console: Console, grid: Grid) -> None:
    console.open()
    console.until("Sessions")
    console.mark()
    session = submit(grid, [1], name="later-on")
    console.until("later-on")
    session.wait()
    console.until_true("[...document.querySelectorAll('tr')].some((row) => row.innerText.includes('later-on')"
                       " && row.innerText.includes('COMPLETED'))")  # fmt: skip
    console.assert_not_loaded_again()


def test_a_traceback_is_two_clicks_away(console: Console, grid: Grid) -> None:
    submit(grid, [1, {"print": "before it broke", "raise": "no such curve"}], name="fails").wait()
    console.open()
    console.click("a.name", "fails")
    console.click("summary", "traceback")
    seen = console.until("Traceback", "ValueError: no such curve", "before it broke")
    assert "handlers.py" in seen
    picture(console.browser, "failed")


def test_a_task_is_opened_from_the_map(console: Console, grid: Grid) -> None:
    session = submit(grid, [{"return": {"price": n}} for n in range(5)], name="mapped")
    session.wait()
    console.open(f"sessions/{session.id}")
    console.until_true("document.querySelector('canvas')?.dataset.painted === '5'")
    canvas = console.find("canvas")
    canvas.send_keys(Keys.HOME, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    console.until("Task 2: completed")
    canvas.send_keys(Keys.ENTER)
    console.until("Input", "Result", '"price": 2')
    assert console.browser.current_url.endswith(f"/console/sessions/{session.id}?task=2")
    console.browser.refresh()
    console.until('"price": 2')


def test_cancel_asks_first(console: Console, grid: Grid, gate: Path) -> None:
    session = submit(grid, [{"until": str(gate)}] * 3, name="to-cancel")
    console.open(f"sessions/{session.id}")
    console.click("button", "Cancel…")
    console.click("dialog button", "Keep it")
    assert session.progress().ended_at is None
    console.click("button", "Cancel…")
    console.click("dialog button", "Cancel the session")
    console.until("CANCELL")
    gate.touch()
    assert session.wait().state == "CANCELLED"
    console.until("CANCELLED", "asked for in the console", "Run again…")
    assert session.history()[-1].after == "CANCELLED"
    assert any(entry.actor == "local" for entry in session.history())


def test_what_failed_runs_again_as_a_new_session(console: Console, grid: Grid) -> None:
    session = submit(grid, [1, {"raise": "no"}], name="again")
    session.wait()
    console.open(f"sessions/{session.id}")
    console.click("button", "Run again…")
    console.click("dialog button", "Run them")
    console.until("Runs again what failed in", session.id)
    assert not console.browser.current_url.endswith(session.id)


def test_two_clicks_run_it_again_once(console: Console, grid: Grid) -> None:
    session = submit(grid, [{"raise": "no"}], name="again-once")
    session.wait()
    console.open(f"sessions/{session.id}")
    console.find("button", "Run again…")
    again = "[...document.querySelectorAll('button')].find((one) => one.innerText === 'Run again…').click()"
    console.run(f"{again}; {again}; document.querySelectorAll('dialog .primary').forEach((one) => one.click())")
    console.until("Runs again what failed in", session.id)
    made = [one for one in grid.sessions() if one.spec.parent_id == session.id]
    assert len(made) == 1


def test_every_attempt_of_a_task_is_seen(console: Console, grid: Grid) -> None:
    """With where it ran, and what it said."""
    retry = RetryPolicy(max_attempts=3, backoff_base_seconds=0)
    session = submit(grid, [{"print": "here", "from_attempt": 3, "return": "at last"}], name="three-times", retry=retry)
    session.wait()
    console.open(f"sessions/{session.id}?task=0")
    seen = console.until("Attempts: 3", "attempt 1 fails", "attempt 2 fails", "at last")
    (agent,) = {task.agent for task in session.tasks()}
    assert seen.count(agent) >= 4, "in the task's card and with each attempt"
    console.click("#page details summary", "traceback and output")
    console.until("ConnectionError: attempt 1 fails", "Traceback")
    picture(console.browser, "attempts")


def test_two_sessions_are_compared(console: Console, grid: Grid) -> None:
    first = submit(grid, [{"raise": "x"}, {"raise": "y"}, 3], name="yesterday")
    second = submit(grid, [{"raise": "x"}, 2, {"raise": "z"}], name="today")
    for session in (first, second):
        session.wait()
    console.open(f"sessions/{first.id}")
    console.click("a", "compare with another")
    console.until("Compare yesterday with")
    console.click("a.name", "today")
    console.until("Half of its tasks took less than")
    console.until("Failed in both: 1", "Only in the first: 1", "Only in the second: 1")
    assert console.browser.current_url.endswith(f"compare?a={first.id}&b={second.id}")
    picture(console.browser, "compare")
    console.click("dd a", "1")
    console.until("yesterday", "ValueError", "Task 1")


def test_what_a_session_belongs_to_is_a_link(console: Console, grid: Grid) -> None:
    """Whatever a label says, it leads nowhere else than where the operator said."""
    evil = "../../x?y=javascript:alert(1)//@evil.example/#"
    session = submit(grid, [], labels={"airflow.dag": "risk", "airflow.run": evil}, name="of-a-dag")
    console.open(f"sessions/{session.id}")
    link = console.find("a", "DAG run")
    there = "https://airflow.example/dags/risk/runs/"
    assert (link.get_attribute("href") or "").startswith(there + "..%2F..%2Fx%3Fy%3Djavascript%3Aalert(1)%2F%2F%40evil")
    above = {"airflow.dag": "..", "airflow.run": ".."}  # which a browser takes for the folder above, encoded or not
    for other in (submit(grid, [], name="of-none"), submit(grid, [], labels=above, name="of-none")):
        console.open(f"sessions/{other.id}")
        assert "DAG run" not in console.until("of-none", other.id, "By")


def test_sessions_are_searched(console: Console, grid: Grid) -> None:
    submit(grid, [1], name="findable", labels={"Desk": "Credit-EU"}).wait()
    submit(grid, [{"raise": "x"}], name="other").wait()
    console.open()
    console.find("input[type=search]").send_keys("desk=credit", Keys.ENTER)
    console.until("findable")
    assert "other" not in text_of(console.browser)
    assert console.browser.current_url.endswith("?text=desk%3Dcredit")
    console.open("?state=FAILED")
    assert "findable" not in console.until("other")
    console.open("?function=no.such")
    console.until("No session here fits.")
    console.open("?text=findable&since=span&from=1&to=2")
    console.until("No session here fits.")
    console.open(f"?text=findable&since=span&from=1&to=4000000000&function={HANDLER}")
    console.until("findable")
    console.open("?tenant=nobody")
    console.until("No session here fits.")


def test_pages_of_sessions(console: Console, grid: Grid) -> None:
    for number in range(52):
        submit(grid, [], name=f"many-{number}")
    console.open("?text=many-")
    console.until("many-51", "older →")
    assert len(console.browser.find_elements(By.CSS_SELECTOR, "tbody tr")) == 50
    console.click("a", "older →")
    assert "many-51" not in console.until("many-0", "← newest")


EVIL = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>"\'`${window.pwned=1}'


def test_scripts_in_texts_are_inert(console: Console, grid: Grid) -> None:
    events = [{"return": EVIL}, {"print": EVIL, "raise": EVIL}]
    session = submit(grid, events, name=EVIL, labels={EVIL[:60]: EVIL[:200]})
    session.wait()
    console.open()
    console.until("<img src=x")
    console.open(f"sessions/{session.id}?task=0")
    console.until("Result", "<img src=x")
    console.click("summary", "traceback")
    console.until("ValueError: <img src=x")
    assert console.run("return window.pwned === undefined && !document.querySelector('main img, main script')")


def test_two_tabs(console: Console, grid: Grid, gate: Path) -> None:
    session = submit(grid, [1, {"until": str(gate)}], name="twice-seen")
    first = console.browser.current_window_handle
    console.open(f"sessions/{session.id}")
    console.until("1 of 2 tasks")
    console.browser.switch_to.new_window("tab")
    try:
        console.open(f"sessions/{session.id}")
        console.until("1 of 2 tasks")
        gate.touch()
        session.wait()
        console.until("2 of 2 tasks")
    finally:
        console.browser.close()
        console.browser.switch_to.window(first)
    console.until("2 of 2 tasks")


def test_agents_and_functions(console: Console, grid: Grid, tmp_path: Path) -> None:
    grid.wake()
    console.open("agents")
    console.until("Agents: 1", "default", "of 2 busy")
    assert "unknown" not in text_of(console.browser)
    console.open("queues")
    console.until("Pools", "default", "of 2")
    assert "Dead letters" not in text_of(console.browser), "a local grid has none"
    console.open("functions")
    console.until("No function is deployed here.")
    (tmp_path / "app.py").write_text("def handler(event, context): return event\n")
    grid.deploy("checked", tmp_path, handler="app.handler", events_schema={"required": ["notional"]})
    console.open("functions")
    console.until("checked", "What its events are")
    console.browser.find_element("tag name", "summary").click()
    console.until('"notional"')
    grid.gateway.remove_function("checked")


def test_what_agents_use_and_what_their_slots_run(console: Console, grid: Grid, url: str, gate: Path) -> None:
    """Beside one of an earlier release, of which nothing is known but what it told."""
    session = submit(grid, [{"until": str(gate), "hold_bytes": 100 << 20}, {"until": str(gate)}], name="holds")
    now = time.time()
    heard = now + limits.LEASE_SECONDS  # nobody beats for these two again, and they stay until they are seen
    plane_of(grid).store.beat(AgentRecord("a-of-before", "default", "elsewhere", 1, 12, 10, heard))
    many = tuple(BegunTask(session.id, n, now - 5, attempt=1, slot=n, memory_bytes=1 << 30) for n in range(12))
    large = AgentRecord(
        "a-large-one", "default", "elsewhere", 1, 10, 10, heard, begun=many, started_at=now - 7500,
        memory_bytes=13 << 30, memory_limit_bytes=14 << 30,
    )  # fmt: skip
    plane_of(grid).store.beat(large)
    try:
        console.open("agents")
        console.until("Agents: 3", "2 of 2 busy", "slot 0: task", "slot 1: task", "and 4 more")
        rows = "[...document.querySelectorAll('tbody tr')]"
        real = f"{rows}.find((row) => !/a-of-before|a-large-one/.test(row.innerText))"
        console.until_true(f"/ for .* s, 1\\d\\d MiB/.test({real}?.innerText)")
        meter = f"{real}.querySelector('[role=meter][aria-label=memory]')"
        console.until_true(f"Number({meter}.ariaValueNow) > 100 * 2 ** 20")
        console.until_true(f"{meter}.ariaValueText.includes(' of ')")
        assert "unknown" not in console.run(f"return {real}.innerText")
        console.until_true(f"{real}.querySelector('time').title.startsWith('since 20')")
        before = console.run(f"return {rows}.find((row) => row.innerText.includes('a-of-before')).innerText")
        assert before.count("unknown") == 2, "memory and age"
        assert "it does not tell" in before
        assert "2 h 5 min" in text_of(console.browser)
        assert "13 GiB of 14 GiB" in text_of(console.browser)
        picture(console.browser, "agents-used")
        assert "slot 9:" not in text_of(console.browser)
        console.click("summary", "and 4 more")
        console.until("slot 8: task", "slot 9: task", "slot 10, lent: task", "slot 11, lent: task")
        age = console.run(f"return {real}.querySelector('time').innerText")
        console.until_true(f"{real}.querySelector('time').innerText !== arguments[0]", age)
        assert "slot 11, lent: task" in text_of(console.browser), "what was opened stays so"
    finally:
        gate.touch()
        plane_of(grid).store.forget_agent("a-of-before")
        plane_of(grid).store.forget_agent("a-large-one")
    session.wait()


def test_costs_and_audit(console: Console, grid: Grid) -> None:
    session = submit(grid, [1], name="accounted", labels={"desk": "rates"})
    session.wait()
    console.open(f"sessions/{session.id}")
    console.until("Cost, about", "$0", "compute", "By")
    console.open("costs")
    console.until("Tenant", "default", "Together", "An estimate")
    console.find("input[name=label]").send_keys("desk", Keys.ENTER)
    console.until("rates")
    assert console.browser.current_url.endswith("costs?by=label%3Adesk")
    console.open("costs?from=2026-01-01&to=2026-12-31&by=label%3Adesk")
    console.until("are of 365 days: ask for at most 31 at once")
    assert console.find("input[name=to]").get_attribute("value") == "2026-12-31", "they can be mended where they are"
    (logged,) = console.complaints()  # Chromium's own, of every such answer
    assert "422" in logged
    console.open("audit")
    assert "null" not in console.until(session.id, "SUBMITTED")
    console.run("window.saved = []; HTMLAnchorElement.prototype.click = function () { saved.push(this.download); }")
    console.click("button", "Export all")
    console.until_true("saved[0] === 'audit.jsonl'")


def test_keys_reach_everything(console: Console, grid: Grid) -> None:
    submit(grid, [1], name="reachable").wait()
    console.open("?text=reachable")
    console.until("reachable")
    seen: list[str] = []
    for _ in range(20):
        console.browser.switch_to.active_element.send_keys(Keys.TAB)
        seen.append(
            console.browser.switch_to.active_element.text or console.run("return document.activeElement.name || ''")
        )
    for wanted in ("Sessions", "Agents", "Sign out", "text", "state", "Search", "reachable"):
        assert any(wanted in one for one in seen), (wanted, seen)


def test_a_phone_shows_it_without_scrolling_sideways(console: Console, grid: Grid) -> None:
    session = submit(grid, [1, {"raise": "no"}], name="a-rather-long-name-of-a-session", labels={"desk": "rates"})
    session.wait()
    before = console.browser.get_window_size()
    console.browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    )
    try:
        for path, word in (
            ("", "a-rather"),
            (f"sessions/{session.id}?task=1", "Input"),
            ("agents", "ago"),
            ("queues", "Pools"),
            ("costs", "Together"),
            ("audit", "Export all"),
            (f"compare?a={session.id}&b={session.id}", "Failed in both"),
            ("functions", "Functions"),
        ):
            console.open(path)
            console.until(word)
            picture(console.browser, f"phone-{path.partition('/')[0] or 'list'}")
            assert console.run("return document.documentElement.scrollWidth <= innerWidth"), path
            scrolls = "[...document.querySelectorAll('.scroll')].some((one) => one.scrollWidth > one.clientWidth)"
            assert "compare" not in path or not console.run(f"return {scrolls}"), "both sessions are seen"
    finally:
        console.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        console.browser.set_window_size(before["width"], before["height"])


def test_a_stranger_sees_nothing_and_a_key_lets_in(console: Console, server: Server, grid: Grid) -> None:
    session = submit(grid, [1], name="not-for-strangers")
    session.wait()
    console.open(f"sessions/{session.id}")
    console.until("not-for-strangers")
    console.browser.delete_all_cookies()  # the other half stays
    console.browser.refresh()
    assert "not-for-strangers" not in console.until("You are signed out")
    console.run("localStorage.clear()")
    console.browser.get(server.console)  # which was used
    assert "Sessions" not in console.until("this address was used")
    picture(console.browser, "stranger")
    console.find("#key").send_keys("htcgrid_guessed", Keys.ENTER)
    console.until("this key is no good")
    console.open(f"sessions/{session.id}")
    console.find("#key").send_keys(server.token, Keys.ENTER)
    console.until("not-for-strangers", "COMPLETED")
    console.complaints()  # of what was refused, which the browser tells


def test_a_key_that_sees_nothing_gives_way_to_another(
    console: Console, server: Server, url: str, tmp_path: Path
) -> None:
    poster, reader = key("poster", "submit"), key("reader", "read")
    with serving(url, tmp_path / "keys.json", keys=[poster, reader]) as other:
        elsewhere = Console(console.browser, other.url)
        elsewhere.open()
        elsewhere.find("#key").send_keys(poster.secret, Keys.ENTER)
        elsewhere.until("grid needs scope read, which poster lacks")
        elsewhere.find("#key").send_keys(reader.secret, Keys.ENTER)
        assert "Audit" not in elsewhere.until("Sign out", "a page")
        elsewhere.complaints()  # of what was refused
        elsewhere.browser.get("about:blank")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_themes_can_be_read(console: Console, grid: Grid, theme: str) -> None:
    """The contrast of every text, as WCAG counts it: 4.5 to 1, but for large ones."""
    session = submit(grid, [1, {"print": "said", "raise": "no"}], name=f"read-in-{theme}", labels={"desk": "rates"})
    session.wait()
    emulated = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    console.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", emulated)
    try:
        for path in ("", f"sessions/{session.id}?task=1", "agents"):
            console.open(path)
            console.until("Sessions", "Input" if "task" in path else "")
            console.until_true("document.querySelector('table')")
            picture(console.browser, f"{path.partition('/')[0] or 'list'}-{theme}")
            assert console.run(FAINT) == []
    finally:
        console.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


FAINT = """
const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
const rgb = (colour) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const light = (colour) => {
  const linear = (one) => (one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
  const [r, g, b] = rgb(colour).map((one) => linear(one / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (node) => {
  for (let at = node; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (rgb(colour)[3] > 250) return colour;
  }
  return getComputedStyle(document.documentElement).getPropertyValue("--paper");
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !node.checkVisibility() || node.closest(".hidden, option")) continue;
  const [one, other] = [light(getComputedStyle(node).color), light(behind(node))].sort((a, b) => b - a);
  const ratio = (one + 0.05) / (other + 0.05);
  if (ratio < 4.5) found.push(`${walker.currentNode.data.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
}
return [...new Set(found)];
"""
