"""Chromium as a person's browser: Debian's, without a window, driven by Selenium."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
SCREENSHOTS = os.environ.get("HTCGRID_SCREENSHOTS")  # a folder, for whoever wants to look at what the tests saw
needs_chromium = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs Debian's chromium and chromium-driver")


@contextmanager
def browsing(profile: Path) -> Iterator[WebDriver]:
    """A browser that nobody has used."""
    options = Options()
    options.binary_location = str(CHROMIUM)
    # Containers have little shared memory, and no name spaces for Chromium's sandbox.
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1400,900", "lang=en"):
        options.add_argument(f"--{argument}")
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = WebDriver(options, Service(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def text_of(browser: WebDriver) -> str:
    """What the page says."""
    return browser.find_element(By.TAG_NAME, "body").text


def picture(browser: WebDriver, name: str) -> None:
    """Keep what is seen, if somebody wants to look at it."""
    if SCREENSHOTS:
        browser.save_screenshot(str(Path(SCREENSHOTS, f"{name}.png")))


def complaints(browser: WebDriver, path: str) -> list[str]:
    """What the browser has against the files below a path."""
    log = browser.get_log("browser")  # type: ignore[no-untyped-call] # Selenium's
    return [line["message"] for line in log if line["level"] == "SEVERE" and path in line["message"]]
