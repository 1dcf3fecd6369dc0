"""Going from one address to another: what stays as it was, and what is at addresses that nobody links to."""

from __future__ import annotations

from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from htcgrid_core import Grid
from tests.browser import needs_chromium
from tests.console.looking import Console
from tests.console.submitting import submit

pytestmark = [needs_chromium, pytest.mark.timeout(300)]
VIEW = "return document.querySelector('canvas').dataset.view"
CARD = "document.getElementById('task').getBoundingClientRect().top"
CARD_IS_SEEN = f"{CARD} >= 0 && {CARD} < innerHeight"


def test_opening_a_task_leaves_the_map_as_it_is(console: Console, grid: Grid) -> None:
    """Enlarged, and with the keyboard where it was; and the task's card is where one looks."""
    events = [{"raise": str(index)} if index % 100 == 7 else index for index in range(3000)]
    session = submit(grid, events, name="looked-into", max_failures=3000)
    session.wait()
    console.open(f"sessions/{session.id}")
    console.until("Slowest tasks", "Failed tasks: 30")
    told = console.run("return [...document.querySelectorAll('tbody td.number.mono')].map((one) => one.innerText)")
    assert told[:30] == [f"{index:,}" for index in range(7, 3000, 100)], (
        "those that are shown are in order, whichever ended first"
    )
    console.run("document.querySelector('canvas').focus()")
    console.browser.switch_to.active_element.send_keys("+++nn")
    console.until("Task 107: failed")
    console.until_true("document.querySelector('canvas').dataset.view !== '0.00,0.00,11.000'")
    before = console.run(VIEW)
    console.browser.switch_to.active_element.send_keys(Keys.ENTER)
    console.until("Input", "ValueError: 107")
    assert console.browser.current_url.endswith(f"{session.id}?task=107")
    assert console.run(VIEW) == before
    console.browser.switch_to.active_element.send_keys("n", Keys.ENTER)
    console.until("ValueError: 207")
    console.run("[...document.querySelectorAll('.tables td a')].find((one) => one.innerText === '2,707').click()")
    console.until("ValueError: 2707")
    console.until_true(CARD_IS_SEEN)
    console.browser.back()
    console.until("ValueError: 207")
    assert console.run(VIEW) == before
    console.open(f"sessions/{session.id}?task=2907")
    console.until("ValueError: 2907", "Slowest tasks")
    console.until_true(CARD_IS_SEEN)


def test_who_goes_away_is_asked_no_more(console: Console, grid: Grid, gate: Path) -> None:
    """Or a yes would be said while another session is looked at."""
    session = submit(grid, [{"until": str(gate)}], name="to-be-kept")
    console.open()
    console.click("a.name", "to-be-kept")
    console.click("button", "Cancel…")
    console.until("Cancel this session?", "to-be-kept: 1 of its tasks")
    console.browser.back()
    console.until_true("document.querySelector('form[role=search]') && !document.querySelector('dialog')")
    gate.touch()
    session.wait()


@pytest.mark.parametrize("path", ["%E0%A4", "a%2Fb", "sessions/%2e%2e%2fagents", "/evil.example/", "nothing/here"])
def test_what_is_no_view_says_so(console: Console, path: str) -> None:
    console.open(path)
    console.until("There is nothing at this address.", "Sign out")


def test_a_session_in_an_address_leads_to_no_other_path(console: Console) -> None:
    for address in ("compare?a=../../v1/load", "compare?a=../../v1/load&b=../../healthz"):
        console.open(address)
        console.until("there is nothing at this path")
    paths = "performance.getEntriesByType('resource').map((one) => new URL(one.name).pathname)"
    console.until_true(f"!{paths}.some((one) => one.startsWith('/v1/load') || one === '/healthz')")
    console.complaints()  # of what was not found, which the browser tells
