"""The page and the tab in Chromium, inside of Airflow's own pages, as a person sees them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from selenium.common.exceptions import ElementNotInteractableException, StaleElementReferenceException
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from htcgrid_core import Grid
from tests.airflow.system.handlers import GATE
from tests.airflow.system.rest import GUARD_SECONDS, eventually
from tests.airflow.system.stack import Stack
from tests.browser import browsing, complaints, needs_chromium, picture, text_of

DAG, RUN, TASK = "looked_at", "in_a_browser", "step"
FAILING, TOLERANT = "failing_now", "tolerant"
THEMES = ("light", "dark")

pytestmark = [
    pytest.mark.timeout(600),
    needs_chromium,
]


@pytest.fixture(scope="module")
def ran(stack: Stack, grid: Grid, signs: Path) -> Iterator[Stack]:
    """After a run with failed tasks and one in which they are tolerated, and while one has them retried."""
    for dag in (DAG, FAILING, TOLERANT):
        stack.api.trigger(dag, RUN)
    for dag in (DAG, TOLERANT):
        assert stack.api.run_ended(dag, RUN) == "success", stack.api.log(dag, RUN, TASK)
    labels = {"airflow.dag": FAILING}
    eventually(
        lambda: [it.progress().retrying for it in grid.sessions(labels=labels)] == [20], "all odd ones have failed"
    )
    yield stack
    (signs / FAILING / GATE).touch()
    assert stack.api.run_ended(FAILING, RUN) == "success", stack.api.log(FAILING, RUN, TASK)


@pytest.fixture
def browser(ran: Stack, tmp_path: Path) -> Iterator[WebDriver]:
    """A browser in which the administrator is logged in."""
    with browsing(tmp_path) as driver:
        driver.get(f"{ran.api.base_url}/auth/login")  # a cookie needs a page of its host
        driver.add_cookie({"name": "_token", "value": ran.api.token("admin"), "path": "/"})
        yield driver


def framed_text(browser: WebDriver, *words: str) -> str:
    """What the frame in Airflow's page says, once it says all of these."""
    frame = WebDriverWait(browser, GUARD_SECONDS).until(lambda it: it.find_element(By.CSS_SELECTOR, "iframe"))
    browser.switch_to.frame(frame)
    WebDriverWait(browser, GUARD_SECONDS).until(lambda it: all(word in text_of(it) for word in words))
    return text_of(browser)


def in_theme(browser: WebDriver, address: str, theme: str) -> None:
    """Open one of Airflow's pages, light or dark."""
    browser.execute_script(f"localStorage.setItem('theme', '{theme}')")
    browser.get(address)


def background(browser: WebDriver) -> str:
    """The colour behind whatever is in the middle of the page."""
    script = """
      for (let seen = document.elementFromPoint(innerWidth / 2, innerHeight / 2); seen; seen = seen.parentElement) {
        const colour = getComputedStyle(seen).backgroundColor;
        if (colour !== "rgba(0, 0, 0, 0)") return colour;
      }
      return getComputedStyle(document.body).backgroundColor; // which is also the canvas's
    """
    return str(browser.execute_script(script))


@pytest.mark.parametrize("theme", THEMES)
def test_the_list_of_sessions(ran: Stack, browser: WebDriver, theme: str) -> None:
    in_theme(browser, f"{ran.api.base_url}/plugin/htcgrid", theme)
    text = framed_text(browser, "Sessions", "looked-at", "failing-now", "tolerant")
    picture(browser, f"sessions-{theme}")
    assert "20 retrying" in text
    assert "COMPLETED with failures" in text
    assert "FAILED" in text
    assert "3 of 5 tasks" in text
    assert "2 failed" in text
    inner = background(browser)
    browser.switch_to.default_content()
    assert inner == background(browser), "the page looks as Airflow's own do"
    assert not complaints(browser, "/htcgrid/")


def test_the_step_leads_to_its_run(ran: Stack, browser: WebDriver) -> None:
    browser.get(f"{ran.api.base_url}/plugin/htcgrid")
    framed_text(browser, "looked-at")
    browser.find_element(By.PARTIAL_LINK_TEXT, f"{DAG} · {TASK}").click()
    browser.switch_to.default_content()
    WebDriverWait(browser, GUARD_SECONDS).until(lambda it: f"/dags/{DAG}/runs/{RUN}/tasks/{TASK}" in it.current_url)


def test_a_session_is_opened_by_a_click(ran: Stack, browser: WebDriver) -> None:
    browser.get(f"{ran.api.base_url}/plugin/htcgrid")
    framed_text(browser, "looked-at")
    browser.find_element(By.LINK_TEXT, "looked-at").click()
    WebDriverWait(browser, GUARD_SECONDS).until(lambda it: "all sessions" in text_of(it))
    text = text_of(browser)
    assert "ValueError" in text
    assert "no good yet" in text
    assert not complaints(browser, "/htcgrid/")


@pytest.mark.parametrize("theme", THEMES)
def test_a_step_is_seen_failing_while_it_fails(ran: Stack, browser: WebDriver, theme: str) -> None:
    in_theme(browser, f"{ran.api.base_url}/dags/{FAILING}/runs/{RUN}/tasks/{TASK}/plugin/htcgrid_session", theme)
    text = framed_text(browser, "failing-now", "Tasks that failed and run again: 20", "is no good yet")
    assert "20 of 40 tasks · 20 retrying" in text
    assert "traceback and output" in text
    browser.execute_script("document.querySelector('summary').click()")  # at once: each attempt draws the page anew
    WebDriverWait(browser, GUARD_SECONDS).until(lambda it: ": looking at number" in text_of(it))
    browser.execute_script("document.querySelector('details').scrollIntoView({ block: 'end' })")
    picture(browser, f"retrying-{theme}")
    assert "Traceback (most recent call last)" in text_of(browser)
    assert not complaints(browser, "/htcgrid/")


def test_a_number_can_be_typed_while_the_session_goes_on(ran: Stack, browser: WebDriver) -> None:
    browser.get(f"{ran.api.base_url}/dags/{FAILING}/runs/{RUN}/tasks/{TASK}/plugin/htcgrid_session")
    framed_text(browser, "failing-now", "Tasks that failed and run again")
    asked = "return performance.getEntriesByType('resource').filter((it) => it.name.includes('api/task')).length"

    def begun(it: WebDriver) -> WebElement | Literal[False]:
        it.execute_script("document.querySelector('.lookup input').focus()")
        field: WebElement = it.switch_to.active_element
        try:
            field.send_keys("1")
        except (ElementNotInteractableException, StaleElementReferenceException):  # it was drawn anew before it had any
            return False
        return field

    field = WebDriverWait(browser, GUARD_SECONDS).until(begun)
    before = browser.execute_script(asked)
    WebDriverWait(browser, GUARD_SECONDS).until(lambda it: it.execute_script(asked) > before + 2)  # a round is over
    field.send_keys("2", Keys.ENTER)
    WebDriverWait(browser, GUARD_SECONDS).until(lambda it: "Task 12" in text_of(it))


@pytest.mark.parametrize("theme", THEMES)
def test_what_a_task_printed_that_succeeded(ran: Stack, browser: WebDriver, theme: str) -> None:
    in_theme(browser, f"{ran.api.base_url}/dags/{TOLERANT}/runs/{RUN}/tasks/{TASK}/plugin/htcgrid_session", theme)
    text = framed_text(browser, "tolerant", "Failed tasks: 20")
    assert "COMPLETED with failures" in text
    browser.find_element(By.CSS_SELECTOR, ".lookup input").send_keys("2", Keys.ENTER)
    WebDriverWait(browser, GUARD_SECONDS).until(lambda it: "attempt 1: looking at number 2" in text_of(it))
    picture(browser, f"output-{theme}")
    is_seen = "const at = document.getElementById('task').getBoundingClientRect(); return at.bottom <= innerHeight + 1"
    assert browser.execute_script(is_seen), "without scrolling"
    assert not complaints(browser, "/htcgrid/")


@pytest.mark.parametrize("theme", THEMES)
def test_the_tab_of_a_task_instance(ran: Stack, browser: WebDriver, theme: str) -> None:
    in_theme(browser, f"{ran.api.base_url}/dags/{DAG}/runs/{RUN}/tasks/{TASK}/plugin/htcgrid_session", theme)
    text = framed_text(browser, "looked-at", "ValueError")
    assert "3 of 5 tasks" in text
    lookup = browser.find_element(By.CSS_SELECTOR, ".lookup input")
    lookup.send_keys("2", Keys.ENTER)
    WebDriverWait(browser, GUARD_SECONDS).until(lambda it: "Task 2" in text_of(it))
    picture(browser, f"task-{theme}")
    assert "It printed nothing." in text_of(browser)
    assert not complaints(browser, "/htcgrid/")


def test_a_stranger_sees_nothing(ran: Stack, browser: WebDriver) -> None:
    page = f"{ran.api.base_url}/htcgrid/"
    browser.get(page)
    WebDriverWait(browser, GUARD_SECONDS).until(lambda it: "looked-at" in text_of(it))
    browser.delete_all_cookies()
    browser.get(page)
    assert json.loads(browser.find_element(By.TAG_NAME, "pre").text) == {"detail": "Not authenticated"}
