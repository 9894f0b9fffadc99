"""Flask-Login in Chromium: a logout in one tab is one for the streams of all tabs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from selenium.webdriver.remote.webdriver import WebDriver

from tests.e2e.conftest import App, starting
from tests.support.servers import RedisServer
from tests.support.waiting import wait_until

from .conftest import Browse

pytestmark = pytest.mark.timeout(120)
LIVE: list[int | str] = [1, "live", "live"]
OVER: list[int | str] = [2, "ended", "ended"]


@pytest.fixture
def app(redis_server: RedisServer, prefix: str) -> Iterator[App]:
    with starting(redis_server, prefix) as start:
        yield start(app="tests.support.apps.login:create_app()", workers=2)


class Tab:
    """A tab of a browser, on the page of a user who is logged in."""

    def __init__(self, browser: WebDriver, url: str) -> None:
        self._browser = browser
        browser.get(url)
        self._handle = browser.current_window_handle
        self.wait_for(LIVE)

    def run(self, script: str) -> Any:
        self._browser.switch_to.window(self._handle)
        return self._browser.execute_script(script)

    @property
    def states(self) -> Any:
        return self.run("return window.states?.()")

    def wait_for(self, states: list[int | str]) -> None:
        wait_until(lambda: self.states == states, 20, lambda: str(self.states))

    def shows(self, *numbers: int) -> bool:
        got = self.run("return Object.values(got)")
        return bool(got == [list(numbers)] * 3)

    def wait_to_show(self, *numbers: int) -> None:
        wait_until(lambda: self.shows(*numbers), 15)


def test_a_logout_ends_the_streams_of_all_tabs(app: App, browse: Browse):
    """Nothing that is emitted after it arrives in any of them; another session goes on."""
    browser, elsewhere = browse(), browse()
    first = Tab(browser, f"{app.url}/login/ada")
    browser.switch_to.new_window("tab")
    second = Tab(browser, f"{app.url}/page")
    other = Tab(elsewhere, f"{app.url}/login/ada")
    app.request("POST", "/emit/1")
    for tab in (first, second, other):
        tab.wait_to_show(1)

    second.run("document.querySelector('button').click()")
    wait_until(lambda: second.run("return document.title") == "out", 15)
    for number in range(2, 12):
        app.request("POST", f"/emit/{number}")
    for tab in (first, second):
        tab.wait_for(OVER)
        assert tab.shows(1)
    other.wait_to_show(*range(1, 12))
    assert other.states == LIVE

    # A page that opens a stream anew is refused by the view.
    first.run("window.again = new EventSource('/stream')")
    wait_until(lambda: first.run("return again.readyState") == 2, 15)
    app.request("POST", "/emit/12")
    other.wait_to_show(*range(1, 13))
    assert first.shows(1)
    assert second.shows(1)
