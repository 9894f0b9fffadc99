"""The package's module in browsers: tabs, the back/forward cache, dead streams, tokens."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.e2e.conftest import App, starting
from tests.support.servers import RedisServer
from tests.support.waiting import wait_until

from .conftest import Browse, Browser

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def app(redis_server: RedisServer, prefix: str) -> Iterator[App]:
    with starting(redis_server, prefix) as start:
        yield start(app="tests.support.apps.module:create_app()")


def script(page: Browser, expression: str) -> Any:
    return page.execute_script(f"return {expression}")


def subscribe(page: Browser, app: App, stream: str, **options: Any) -> None:
    """Open a page that subscribes to a stream."""
    page.get(f"{app.url}/module{stream}?{urlencode({'options': json.dumps(options)})}")


def is_live(page: Browser) -> bool:
    return bool(script(page, "window.states?.at(-1) === 'live'"))


def got(page: Browser, count: int) -> bool:
    return bool(script(page, "(window.got ?? []).length") >= count)


def kill_worker(app: App) -> None:
    [worker] = app.server.worker_pids()
    app.server.kill_worker(worker)
    wait_until(lambda: app.server.worker_pids() not in ([], [worker]), 20)


def streams(app: App) -> int:
    return int(app.state()["streams"])


def opened(app: App, path: str) -> int:
    """Return how often a path was requested, of the requests that are over."""
    return len(re.findall(rf"\"\w+ {path}\b", app.server.access_log))


# -- one connection for all tabs -------------------------------------------------------------------


def test_all_tabs_have_one_connection(app: App, browse: Browse):
    """Nine tabs, more than a browser has connections, share a stream and can still request."""
    page = browse()
    for number in range(9):
        if number:
            page.switch_to.new_window("tab")
        subscribe(page, app, "/channel/x", identity="ann")
        wait_until(functools.partial(is_live, page), 20)
    for number in range(3):
        app.emit("x", number)

    for tab in page.window_handles:
        page.switch_to.window(tab)
        wait_until(functools.partial(got, page, 3), 20)
        assert script(page, "got") == [0, 1, 2]
    assert streams(app) == 1
    assert page.execute_async_script("fetch('/cache').then((answer) => arguments[0](answer.ok))")


def test_identities_are_not_mixed(app: App, browse: Browse):
    """A page that was made for one user does not listen to the stream of another."""
    page = browse()
    tabs: list[str] = []
    for user in ("ann", "bob"):
        if tabs:
            page.switch_to.new_window("tab")
        page.get(f"{app.url}/login/{user}")
        subscribe(page, app, "/mine", identity=user)
        wait_until(functools.partial(is_live, page), 20)
        tabs.append(page.current_window_handle)
    assert streams(app) == 2
    app.emit("user:ann", "for ann")
    app.emit("user:bob", "for bob")

    for tab, expected in zip(tabs, ("for ann", "for bob"), strict=True):
        page.switch_to.window(tab)
        wait_until(functools.partial(got, page, 1), 20)
        assert script(page, "got") == [expected]


# -- pages that come back --------------------------------------------------------------------------


@pytest.mark.parametrize("identity", [None, "ann"], ids=["own", "shared"])
@pytest.mark.parametrize("engine", ["chromium", "firefox", "webkit"])
def test_after_back_each_message_comes_once(
    app: App, request: pytest.FixtureRequest, engine: str, identity: str | None
):
    """A page that was left has no stream; it comes back with each message once, on one stream."""
    page: Browser = (
        request.getfixturevalue("browse")()
        if engine == "chromium"
        else request.getfixturevalue(engine)
    )
    subscribe(page, app, "/channel/x", **({"identity": identity} if identity else {}))
    wait_until(functools.partial(is_live, page), 20)
    app.emit("x", 0)
    wait_until(functools.partial(got, page, 1), 20)
    page.get(f"{app.url}/elsewhere")
    if (engine, identity) != ("webkit", "ann"):
        # WebKit stops the worker together with the last page that uses it.
        wait_until(lambda: streams(app) == 0, 20)
    app.emit("x", 1)

    page.back()
    wait_until(functools.partial(is_live, page), 20)
    emitted, until = 2, time.monotonic() + 2
    while time.monotonic() < until:
        app.emit("x", emitted)
        emitted += 1
    wait_until(lambda: script(page, "got.at(-1)") == emitted - 1, 20)
    kept = script(page, "keptAt !== null")
    # A page that the browser did not keep is a new one, and begins now.
    assert script(page, "got") == list(range(0 if kept else 2, emitted))
    assert streams(app) == 1


def test_a_page_comes_back_at_once_when_it_is_online(
    redis_server: RedisServer, prefix: str, browse: Browse
):
    """When the network is back, the page does not wait for its next try."""
    with starting(redis_server, prefix) as start:
        app = start(app="tests.support.apps.module:create_app()", env={"RETRY": "40"})
        page = browse()
        subscribe(page, app, "/channel/x")
        wait_until(functools.partial(is_live, page), 20)
        kill_worker(app)
        # It would try again after a quarter of `retry` at the earliest.
        wait_until(lambda: script(page, "states.at(-1)") == "away", 20)
        away = time.monotonic()
        app.emit("x", 0)
        conditions = {"latency": 0, "download_throughput": -1, "upload_throughput": -1}
        page.set_network_conditions(offline=True, **conditions)
        page.set_network_conditions(offline=False, **conditions)

        wait_until(functools.partial(got, page, 1), 8)
        assert time.monotonic() - away < 9
        assert script(page, "got") == [0]


def test_a_quiet_stream_is_left_open(app: App, browse: Browse):
    """The module takes no stream for dead that has heartbeats, whether it has ids or not."""
    page = browse()
    for number, stream in enumerate(("/channel/x", "/plain/x", "/quiet")):
        if number:
            page.switch_to.new_window("tab")
        subscribe(page, app, stream)
    wait_until(lambda: script(page, "performance.now()") > 5000, 20)

    for tab in page.window_handles:
        page.switch_to.window(tab)
        assert script(page, "states") == ["connecting", "live"]


@pytest.mark.parametrize("identity", [None, "ann"], ids=["own", "shared"])
def test_a_stream_that_went_dead_is_opened_where_it_was(
    app: App, browse: Browse, identity: str | None
):
    """Without a sign of life the page opens a new stream, and misses and repeats nothing."""
    page = browse()
    subscribe(page, app, "/channel/x", **({"identity": identity} if identity else {}))
    wait_until(functools.partial(is_live, page), 20)
    app.emit("x", 0)
    wait_until(functools.partial(got, page, 1), 15)
    [worker] = app.server.worker_pids()
    os.kill(worker, signal.SIGSTOP)
    try:
        wait_until(lambda: script(page, "states.at(-1)") == "away", 20)
    finally:
        os.kill(worker, signal.SIGCONT)
    app.emit("x", 1)

    wait_until(functools.partial(got, page, 2), 15)
    assert script(page, "[got, resets, states]") == [
        [0, 1],
        [],
        ["connecting", "live", "away", "live"],
    ]


def test_a_stream_that_a_proxy_refused_is_opened_again(app: App, browse: Browse):
    """A proxy's 502 is no reason to give up."""
    page = browse()
    subscribe(page, app, "/late/x")
    wait_until(functools.partial(is_live, page), 20)

    assert script(page, "states") == ["connecting", "away", "live"]


def test_the_end_is_the_end(app: App, browse: Browse):
    """After `end` the page sends no request."""
    page = browse()
    subscribe(page, app, "/callback/x")
    wait_until(functools.partial(is_live, page), 20)
    app.emit("x", "false")
    wait_until(lambda: script(page, "states.at(-1)") == "ended", 15)
    ended = time.monotonic()
    wait_until(lambda: time.monotonic() > ended + 3, 15)

    assert script(page, "got") == ["final"]
    assert opened(app, "/callback/x") == 1


def test_a_refusal_is_a_refusal(app: App, browse: Browse):
    """After 403 the page knows, and sends no request."""
    page = browse()
    subscribe(page, app, "/user/eve")
    wait_until(lambda: script(page, "states.at(-1)") == "refused", 15)
    refused = time.monotonic()
    wait_until(lambda: time.monotonic() > refused + 2, 15)

    assert opened(app, "/user/eve") == 1


# -- what an EventSource cannot --------------------------------------------------------------------


def test_a_post_with_a_token(app: App, browse: Browse):
    """A POST carries a body and a token, which is fetched anew once it is refused."""
    page = browse()
    subscribe(page, app, "/ask/x", token="x")
    wait_until(functools.partial(is_live, page), 20)
    app.emit("x", 1)
    wait_until(functools.partial(got, page, 1), 15)

    page.execute_script("token = 'stale again'")
    app.server.reload()
    wait_until(lambda: script(page, "states.length") == 4, 20)
    app.emit("x", 2)
    wait_until(functools.partial(got, page, 2), 15)
    assert script(page, "[states, token]") == [["connecting", "live", "away", "live"], "good"]


def test_the_element(app: App, browse: Browse):
    """`<event-stream>` dispatches each event, tells its state, and knows the end."""
    page = browse()
    page.get(f"{app.url}/element/ticking/x")
    state = "document.querySelector('event-stream').getAttribute('state')"
    wait_until(lambda: script(page, state) == "live", 20)
    app.emit("x", {"a": 1})
    app.emit("x", 2)
    wait_until(functools.partial(got, page, 2), 15)
    app.emit("x", False)

    wait_until(lambda: script(page, state) == "ended", 20)
    # `end` is the server's own, and does not bubble up to the document.
    assert script(page, "got") == [["message", {"a": 1}], ["message", 2]]
