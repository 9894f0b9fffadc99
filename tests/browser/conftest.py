"""A real Chromium, which requests nothing from the network by itself."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

Browse = Callable[[], webdriver.Chrome]

ARGUMENTS = ["headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1240,1160"]


@pytest.fixture
def browse() -> Iterator[Browse]:
    """Yield a function that opens a browser; close all browsers afterwards."""
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not chromedriver:
        missing = "These tests need chromium and chromedriver (Debian: chromium-driver)."
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    open_browsers: list[webdriver.Chrome] = []

    def browse() -> webdriver.Chrome:
        options = webdriver.ChromeOptions()
        options.binary_location = str(chromium)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        for argument in ARGUMENTS:
            options.add_argument(f"--{argument}")
        open_browsers.append(webdriver.Chrome(options=options, service=Service(chromedriver)))
        return open_browsers[-1]

    yield browse
    for browser in open_browsers:
        browser.quit()
