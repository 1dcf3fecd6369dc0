"""Looking at the console, as a person does: until something is seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser import complaints, text_of

GUARD_SECONDS = 60.0  # only a test that would hang for ever notices it
NO_RELOAD = "window.untouched"


@dataclass
class Console:
    """A browser at a server's console."""

    browser: WebDriver
    url: str

    def open(self, path: str = "") -> None:
        """Go to a view."""
        self.browser.get(f"{self.url}/console/{path}")

    def until(self, *words: str) -> str:
        """What is seen, once all of these are."""
        self._wait().until(lambda it: all(word in text_of(it) for word in words), f"{words} in {text_of(self.browser)}")
        return text_of(self.browser)

    def until_true(self, script: str, *arguments: Any) -> None:
        """Once a script says so."""
        self._wait().until(lambda it: it.execute_script(f"return {script}", *arguments), script)

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns."""
        return self.browser.execute_script(script, *arguments)

    def click(self, selector: str, text: str = "") -> None:
        """Click on what has a text; where the page is drawn anew meanwhile, on what is in its place."""

        def clicked(_: WebDriver) -> bool:
            self.find(selector, text).click()
            return True

        self._wait().until(clicked, f"{selector} {text!r}")

    def find(self, selector: str, text: str = "") -> WebElement:
        """What has a text, once it is there."""

        def look(browser: WebDriver) -> WebElement | None:
            found = browser.find_elements(By.CSS_SELECTOR, selector)
            return next((one for one in found if text in one.text and one.is_displayed()), None)

        found = self._wait().until(look, f"{selector} {text!r}")
        assert found is not None
        return found

    def mark(self) -> None:
        """Leave a mark that a reload would wipe."""
        self.run(f"{NO_RELOAD} = true")

    def assert_not_loaded_again(self) -> None:
        """The mark is there."""
        assert self.run(f"return {NO_RELOAD} === true")

    def complaints(self) -> list[str]:
        """What the browser has against the page: its policies, its scripts, what could not be loaded."""
        return complaints(self.browser, "")

    def _wait(self) -> WebDriverWait[WebDriver]:
        return WebDriverWait(
            self.browser, GUARD_SECONDS, poll_frequency=0.05, ignored_exceptions=[StaleElementReferenceException]
        )
