"""The console behind a proxy: below a path, and while what is behind it is away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.keys import Keys

from htcgrid_core import Grid
from tests.browser import needs_chromium
from tests.console.looking import Console
from tests.console.proxy import Proxy, proxying
from tests.console.submitting import submit
from tests.served import Server

pytestmark = [needs_chromium, pytest.mark.timeout(300)]
PREFIX = "/tools/grid"


@pytest.fixture(scope="module")
def proxy(server: Server) -> Iterator[Proxy]:
    with proxying(server.url, PREFIX) as found:
        yield found


@pytest.fixture(scope="module")
def behind(browser: WebDriver, proxy: Proxy, server: Server) -> Console:
    """Signed in there with a key."""
    console = Console(browser, proxy.url)
    console.open()
    console.find("#key").send_keys(server.token, Keys.ENTER)
    console.until("Sessions")
    return console


def test_every_view_works_below_a_path(behind: Console, grid: Grid) -> None:
    session = submit(grid, [1, {"raise": "no"}], name="proxied", labels={"desk": "rates"})
    session.wait()
    behind.browser.get_log("browser")  # type: ignore[no-untyped-call] # of the sign-in
    behind.open()
    behind.click("a.name", "proxied")
    behind.until("proxied", "FAILED")
    assert behind.browser.current_url == f"{behind.url}/console/sessions/{session.id}"
    behind.browser.refresh()  # its files are found from there too
    behind.until("proxied", "Failed tasks: 1")
    views = (("Agents", "Agents"), ("Queues", "Pools"), ("Functions", "No function"), ("Sessions", "proxied"))
    for link, word in views:
        behind.click("#bar a", link)
        behind.until(word)
    cookies = behind.browser.get_cookies()
    assert [cookie["path"] for cookie in cookies] == [f"{PREFIX}/"], "other grids of this host do not get it"
    assert not behind.complaints()


def test_a_list_goes_on_after_the_server_was_away(behind: Console, proxy: Proxy, grid: Grid, gate: Path) -> None:
    live = submit(grid, [{"until": str(gate)}], name="seen-before")
    behind.open()
    behind.until("seen-before")
    behind.mark()
    proxy.failing.set()
    try:
        submit(grid, [], name="submitted-meanwhile")
        seen = behind.until("the page keeps trying")
        assert "seen-before" in seen, "what was seen stays"
        assert proxy.refused
    finally:
        proxy.failing.clear()
        gate.touch()
    behind.until("submitted-meanwhile")
    behind.until_true("document.getElementById('trouble').hidden")
    behind.assert_not_loaded_again()
    live.wait()


def test_so_does_a_session(behind: Console, proxy: Proxy, grid: Grid, gate: Path) -> None:
    session = submit(grid, [1, {"until": str(gate)}], name="goes-on")
    behind.open(f"sessions/{session.id}")
    behind.until("1 of 2 tasks")
    behind.mark()
    proxy.failing.set()
    try:
        behind.until("the page keeps trying")
    finally:
        proxy.failing.clear()
    behind.until_true("document.getElementById('trouble').hidden")
    gate.touch()
    session.wait()
    behind.until("2 of 2 tasks", "COMPLETED")
    behind.assert_not_loaded_again()
