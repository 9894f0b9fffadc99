"""The documentation's pages: listen.js where it does more than `EventSource`, and state.js."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from selenium.webdriver.remote.webdriver import WebDriver

from tests.e2e.conftest import App, starting
from tests.support.servers import RedisServer
from tests.support.waiting import wait_until

from .conftest import Browse

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def app(redis_server: RedisServer, prefix: str) -> Iterator[App]:
    with starting(redis_server, prefix) as start:
        yield start(app="tests.support.apps.pages:create_app()")


def script(page: WebDriver, expression: str) -> Any:
    return page.execute_script(f"return {expression}")


def listen(page: WebDriver, app: App, stream: str, **options: Any) -> None:
    """Open a page that listens to a stream, and wait until the stream is live."""
    query = {"client": "listen.js", "stream": stream, "options": json.dumps(options)}
    page.get(f"{app.url}/listen?{urlencode(query)}")
    wait_until(lambda: script(page, "window.ready") == 1, 15)


def test_after_back_each_message_comes_once(app: App, browser: WebDriver):
    """A page that was kept while its user was elsewhere gets each message once, on one stream."""
    listen(browser, app, "/channel/x")
    app.emit("x", 0)
    wait_until(lambda: script(browser, "got.length") == 1, 15)
    browser.get(f"{app.url}/elsewhere")
    wait_until(lambda: app.state()["streams"] == 0, 15)
    app.emit("x", 1)

    browser.back()
    wait_until(lambda: script(browser, "window.got?.length") == 2, 15)
    assert script(browser, "keptAt !== null")

    emitted = 2
    # A source that revives comes back after `retry`, which is half a second.
    while script(browser, "performance.now() - keptAt") < 3000:
        app.emit("x", emitted)
        emitted += 1
    wait_until(lambda: script(browser, "got.length") >= emitted, 15)
    assert script(browser, "got") == list(range(emitted))
    assert app.state()["streams"] == 1


@pytest.mark.parametrize("stream", ["/channel/x", "/plain/x", "/quiet"])
def test_a_quiet_stream_is_left_open(app: App, browse: Browse, stream: str):
    """The watchdog takes no stream for dead that has heartbeats, whether it has ids or not."""
    page = browse()
    listen(page, app, stream, silence=2)
    wait_until(lambda: script(page, "performance.now()") > 6000, 20)

    assert script(page, "opened") == 1


def test_a_stream_that_went_dead_is_opened_where_it_was(app: App, browse: Browse):
    """Without a sign of life the page opens a new stream, and misses and repeats nothing."""
    page = browse()
    listen(page, app, "/channel/x", silence=3)
    app.emit("x", 0)
    wait_until(lambda: script(page, "got.length") == 1, 15)
    [worker] = app.server.worker_pids()
    os.kill(worker, signal.SIGSTOP)
    try:
        wait_until(lambda: script(page, "opened") >= 2, 20)
    finally:
        os.kill(worker, signal.SIGCONT)
    app.emit("x", 1)

    wait_until(lambda: script(page, "got.length") >= 2, 15)
    assert script(page, "got") == [0, 1]
    assert script(page, "resets") == []


def test_a_stream_that_a_proxy_refused_is_opened_again(app: App, browse: Browse):
    """After an answer that makes an `EventSource` give up, the page opens a new one."""
    page = browse()
    listen(page, app, "/late/x", again=1)
    app.emit("x", 0)

    wait_until(lambda: script(page, "got.length") == 1, 15)
    assert script(page, "opened") == 2


def test_the_end_is_the_end(app: App, browse: Browse):
    """After `end` the page sends no request, and its functions are not called."""
    page = browse()
    listen(page, app, "/callback/x", silence=1, again=1)
    app.emit("x", "false")
    wait_until(lambda: script(page, "got.length") == 1, 15)
    ended = script(page, "performance.now()")
    wait_until(lambda: script(page, "performance.now()") > ended + 3000, 15)

    assert script(page, "[got, resets, opened]") == [["final"], [], 1]


def test_no_event_falls_between_the_state_and_the_stream(app: App, browse: Browse):
    """A page that listens first shows the events that came in before, while and after it loads."""
    page = browse()
    for number in range(2):
        app.emit("orders", number)
    page.get(f"{app.url}/orders/page")
    wait_until(lambda: script(page, "shown.length") == 3, 15)
    app.emit("orders", 3)
    wait_until(lambda: script(page, "shown.length") == 4, 15)
    assert script(page, "shown") == [0, 1, 2, 3]

    page.execute_script("shown = []; source.dispatchEvent(new MessageEvent('reset'))")
    wait_until(lambda: script(page, "shown.length") == 5, 15)
    assert script(page, "shown") == [0, 1, 2, 3, 4]
