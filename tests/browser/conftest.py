"""Real browsers, which request nothing from the network by themselves."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.remote.client_config import ClientConfig
from selenium.webdriver.remote.remote_connection import RemoteConnection
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.webkitgtk.options import Options as WebKitOptions
from selenium.webdriver.webkitgtk.service import Service as WebKitService

from tests.support.browsers import Browse as Browse
from tests.support.browsers import browse as browse
from tests.support.browsers import programs
from tests.support.processes import Process
from tests.support.waiting import wait_until

from .marionette import Firefox

Browser = WebDriver | Firefox


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
