"""Real browsers, which request nothing from the network by themselves."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service as ChromeService
from selenium.webdriver.remote.client_config import ClientConfig
from selenium.webdriver.remote.remote_connection import RemoteConnection
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.webkitgtk.options import Options as WebKitOptions
from selenium.webdriver.webkitgtk.service import Service as WebKitService

from tests.support.processes import Process
from tests.support.waiting import wait_until

from .marionette import Firefox

Browse = Callable[[], webdriver.Chrome]
Browser = WebDriver | Firefox

ARGUMENTS = ["headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1240,1160"]


def programs(*names: str, packages: str) -> list[str]:
    """Return the programs' paths; without one of them, the test fails in CI, or is skipped."""
    paths = [shutil.which(name) for name in names]
    if None in paths:
        missing = f"This test needs {' and '.join(names)} (Debian: {packages})."
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    return [path for path in paths if path]


@pytest.fixture
def browse() -> Iterator[Browse]:
    """Yield a function that opens a Chromium; close all of them afterwards."""
    chromium, chromedriver = programs("chromium", "chromedriver", packages="chromium-driver")
    with ExitStack() as opened:

        def browse() -> webdriver.Chrome:
            options = webdriver.ChromeOptions()
            options.binary_location = chromium
            options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
            for argument in ARGUMENTS:
                options.add_argument(f"--{argument}")
            browser = webdriver.Chrome(options=options, service=ChromeService(chromedriver))
            opened.callback(browser.quit)
            return browser

        yield browse


@pytest.fixture
def webkit(tmp_path: Path) -> Iterator[WebDriver]:
    """Open a WebKit, on a display that nobody sees: its engine is Safari's."""
    xvfb, driver = programs("Xvfb", "WebKitWebDriver", packages="xvfb webkit2gtk-driver")
    # Xvfb takes a free display, and writes its number.
    command = [xvfb, "-displayfd", "1", "-nolisten", "tcp"]
    display = Process(command, tmp_path / "display", os.environ)
    try:
        display.start()
        [number] = wait_until(lambda: re.findall(r"^\d+$", display.log, re.MULTILINE), 15)
        # In the locale "C" the language of the browser would be "C", which `Intl` does not know.
        env = {**os.environ, "DISPLAY": f":{number}", "LC_ALL": "en_US.UTF-8"}
        service = WebKitService(driver, env=env)
        service.start()
        try:
            # Selenium's class for WebKit warns of the way in which it gives the driver's address.
            executor = RemoteConnection(client_config=ClientConfig(service.service_url))
            browser = webdriver.Remote(executor, options=WebKitOptions())
            yield browser
            browser.quit()
        finally:
            service.stop()
    finally:
        display.end(signal.SIGTERM)


@pytest.fixture
def firefox(tmp_path: Path) -> Iterator[Firefox]:
    """Open a Firefox."""
    [binary] = programs("firefox-esr", packages="firefox-esr")
    browser = Firefox(binary, tmp_path / "firefox")
    yield browser
    browser.quit()


@pytest.fixture
def engines(browse: Browse, firefox: Firefox, webkit: WebDriver) -> dict[str, Browser]:
    """Open all of the browsers, to run side by side."""
    return {"chromium": browse(), "firefox": firefox, "webkit": webkit}
