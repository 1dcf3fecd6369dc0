"""The page and the tab in Chromium, inside of Airflow's own pages, as a person sees them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.airflow.system.rest import GUARD_SECONDS
from tests.airflow.system.stack import Stack

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
SCREENSHOTS = os.environ.get("HTCGRID_SCREENSHOTS")  # a folder, for whoever wants to look at what the tests saw
DAG, RUN, TASK = "looked_at", "in_a_browser", "step"

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs Debian's chromium and chromium-driver"),
]


@pytest.fixture(scope="module")
def ran(stack: Stack) -> Stack:
    """After a run whose session has failed tasks."""
    stack.api.trigger(DAG, RUN)
    assert stack.api.run_ended(DAG, RUN) == "success", stack.api.log(DAG, RUN, TASK)
    return stack


@pytest.fixture
def browser(ran: Stack, tmp_path: Path) -> Iterator[WebDriver]:
    """A browser in which the administrator is logged in."""
    options = Options()
    options.binary_location = str(CHROMIUM)
    # Containers have little shared memory, and no name spaces for Chromium's sandbox.
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1400,900", "lang=en"):
        options.add_argument(f"--{argument}")
    options.add_argument(f"--user-data-dir={tmp_path}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = WebDriver(options, Service(DRIVER))
    try:
        driver.get(f"{ran.api.base_url}/auth/login")  # a cookie needs a page of its host
        driver.add_cookie({"name": "_token", "value": ran.api.token("admin"), "path": "/"})
        yield driver
    finally:
        driver.quit()


def framed_text(browser: WebDriver, *words: str) -> str:
    """What the frame in Airflow's page says, once it says all of these."""
    frame = WebDriverWait(browser, GUARD_SECONDS).until(lambda it: it.find_element(By.CSS_SELECTOR, "iframe"))
    browser.switch_to.frame(frame)
    WebDriverWait(browser, GUARD_SECONDS).until(lambda it: all(word in _text(it) for word in words))
    return _text(browser)


def _text(browser: WebDriver) -> str:
    return browser.find_element(By.TAG_NAME, "body").text


def picture(browser: WebDriver, name: str) -> None:
    """Keep what is seen, if somebody wants to look at it."""
    if SCREENSHOTS:
        browser.save_screenshot(str(Path(SCREENSHOTS, f"{name}.png")))


def complaints(browser: WebDriver) -> list[str]:
    """What the browser has against our own files."""
    log = browser.get_log("browser")  # type: ignore[no-untyped-call] # Selenium's
    return [line["message"] for line in log if line["level"] == "SEVERE" and "/htcgrid/" in line["message"]]


def test_the_list_of_sessions(ran: Stack, browser: WebDriver) -> None:
    browser.get(f"{ran.api.base_url}/plugin/htcgrid")
    text = framed_text(browser, "Sessions", "looked-at")
    picture(browser, "sessions")
    assert "FAILED" in text
    assert "3 of 5 tasks" in text
    assert "2 failed" in text
    assert not complaints(browser)


def test_a_session_is_opened_by_a_click(ran: Stack, browser: WebDriver) -> None:
    browser.get(f"{ran.api.base_url}/plugin/htcgrid")
    framed_text(browser, "looked-at")
    browser.find_element(By.LINK_TEXT, "looked-at").click()
    WebDriverWait(browser, GUARD_SECONDS).until(lambda it: "all sessions" in _text(it))
    text = _text(browser)
    assert "ValueError" in text
    assert "no good yet" in text
    assert not complaints(browser)


def test_the_tab_of_a_task_instance(ran: Stack, browser: WebDriver) -> None:
    browser.get(f"{ran.api.base_url}/dags/{DAG}/runs/{RUN}/tasks/{TASK}/plugin/htcgrid_session")
    text = framed_text(browser, "looked-at", "ValueError")
    picture(browser, "task")
    assert "3 of 5 tasks" in text
    assert not complaints(browser)


def test_a_stranger_sees_nothing(ran: Stack, browser: WebDriver) -> None:
    page = f"{ran.api.base_url}/htcgrid/"
    browser.get(page)
    WebDriverWait(browser, GUARD_SECONDS).until(lambda it: "looked-at" in _text(it))
    browser.delete_all_cookies()
    browser.get(page)
    assert json.loads(browser.find_element(By.TAG_NAME, "pre").text) == {"detail": "Not authenticated"}
