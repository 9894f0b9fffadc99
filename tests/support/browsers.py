"""Chromium for tests and for pictures; it requests nothing from the network by itself."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.service import Service as ChromeService
from selenium.webdriver.remote.webdriver import WebDriver

Browse = Callable[[], webdriver.Chrome]

ARGUMENTS = ["headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1240,1160"]


def programs(*names: str, packages: str) -> list[str]:
    """Return the programs' paths; without one of them, the test fails in CI, or is skipped."""
    paths = [shutil.which(name) for name in names]
    if None in paths:
        missing = f"This test needs {' and '.join(names)} (Debian: {packages})."
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    return [path for path in paths if path]


def open_chromium() -> webdriver.Chrome:
    """Open a Chromium; the caller quits it."""
    chromium, chromedriver = programs("chromium", "chromedriver", packages="chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for argument in ARGUMENTS:
        options.add_argument(f"--{argument}")
    return webdriver.Chrome(options=options, service=ChromeService(chromedriver))


def texts(page: WebDriver, selector: str) -> list[str]:
    """Return the texts of the elements that match, all of one moment; of a hidden one, "".

    An element that selenium has found may be replaced before its text is asked for.
    """
    found: list[str] = page.execute_script(_TEXTS, selector)
    return found


_TEXTS = """
const shown = (one) => one.checkVisibility() ? one.innerText.trim() : "";
return [...document.querySelectorAll(arguments[0])].map(shown);
"""


@pytest.fixture
def browse(chromiums: list[webdriver.Chrome]) -> Iterator[Browse]:
    """Yield a function that gives the test a Chromium, which knows nothing of earlier tests."""
    with ExitStack() as opened:

        def browse() -> webdriver.Chrome:
            browser = chromiums.pop() if chromiums else open_chromium()
            opened.callback(_put_back, browser, chromiums)
            return browser

        yield browse


def _put_back(browser: webdriver.Chrome, idle: list[webdriver.Chrome]) -> None:
    """Let the next test have the browser, in a new tab: what was emulated belongs to a tab."""
    try:
        old = browser.window_handles
        browser.switch_to.new_window("tab")
        new = browser.current_window_handle
        for handle in old:
            browser.switch_to.window(handle)
            browser.close()
        browser.switch_to.window(new)
        # Databases and storages belong to an origin, and the next test's server has another port.
        browser.execute_cdp_cmd("Network.clearBrowserCookies", {})
        for kind in ("browser", "performance"):
            browser.get_log(kind)
    except WebDriverException:
        browser.quit()
    else:
        idle.append(browser)
