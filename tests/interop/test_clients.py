"""Clients by others, each as the documentation shows it, through reloads, kills and losses."""

from __future__ import annotations

import functools
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from flask_redis_events import Emitter
from tests.e2e.conftest import App
from tests.support.apps.pages import CLIENTS
from tests.support.browsers import Browse
from tests.support.servers import RedisServer
from tests.support.waiting import wait_until

from .conftest import Clients, Heard

pytestmark = pytest.mark.timeout(180)

#: Each client, and whether it comes back after a proxy's 502.
KINDS = [
    pytest.param("module.js", True, id="module"),
    pytest.param("fetch-event-source.js", True, id="fetch-event-source"),
    pytest.param("event-source-polyfill.js", False, id="event-source-polyfill"),
    pytest.param("reconnecting-eventsource.js", True, id="reconnecting-eventsource"),
    pytest.param("vueuse.js", False, id="vueuse"),
    pytest.param("eventsource.js", False, id="eventsource"),
    pytest.param("launchdarkly-eventsource.js", True, id="launchdarkly-eventsource"),
    pytest.param("with_httpx.py", True, id="httpx-sse"),
    pytest.param("with_sseclient.py", True, id="sseclient-py"),
    pytest.param("with_ld_eventsource.py", True, id="ld_eventsource"),
]


def reload(app: App) -> None:
    """Exchange the workers, which end their streams with `reconnect`."""
    old = set(app.server.worker_pids())
    app.server.reload()
    wait_until(lambda: not old & set(app.server.worker_pids()), 20)


def kill(app: App) -> None:
    """Cut all streams, and the workers with them."""
    for pid in app.server.worker_pids():
        app.server.kill_worker(pid, signal.SIGKILL)


def assert_it_is_over(app: App, channel: str, path: str) -> None:
    """The client is told to stop once at most, and opens no stream for seconds."""
    wait_until(lambda: app.subscribers(channel) == 0, 20)
    over = time.monotonic()
    wait_until(lambda: time.monotonic() > over + 3)

    assert app.subscribers(channel) == 0
    lines = app.server.access_log.splitlines()
    assert sum(f'"GET {path}' in line and '" 204 ' in line for line in lines) <= 1


def has_heard(heard: Callable[[], Heard], expected: Heard) -> bool:
    return heard() == expected


def refuse_once(port: int, path: str) -> None:
    """Answer on a server's port as a proxy does while its server is away, until asked once."""
    with socket.create_server(("127.0.0.1", port)) as proxy:
        proxy.settimeout(30)
        asked = b""
        while path.encode() not in asked:
            connection, _ = proxy.accept()
            with connection:
                connection.settimeout(5)
                asked = connection.recv(65536)
                connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("file, comes_back", KINDS)
def test_a_client_misses_and_repeats_nothing(
    own_redis_server: RedisServer,
    app: App,
    emitter: Emitter,
    clients: Clients,
    file: str,
    comes_back: bool,
):
    """The client hears everything once and in order, each `reset`, and stops for good at `end`."""
    path = "/everything/x"
    heard = clients.listen(file, path)
    emitted = 0

    def emit_and_wait(resets: int = 0) -> None:
        nonlocal emitted
        for _ in range(5):
            emitter.emit("x", emitted)
            emitted += 1
        wait_until(lambda: len(heard().messages) >= emitted, 40, lambda: f"{heard()}")
        assert heard() == Heard(list(range(emitted)), resets)

    emit_and_wait()
    reload(app)
    emit_and_wait()
    kill(app)
    emit_and_wait()
    if comes_back:
        app.server.terminate()
        refuse_once(app.server.port, path)
        app.server.start()
        emit_and_wait()
    own_redis_server.restart()  # which has kept nothing
    wait_until(lambda: heard().resets == 1, 20)
    emit_and_wait(resets=1)

    emitter.emit("x", False)  # which ends the stream with `end`
    assert_it_is_over(app, "x", path)
    assert heard() == Heard(list(range(emitted)), 1)


def test_a_client_that_sets_headers_reconnects_across_origins(
    app: App, emitter: Emitter, clients: Clients
):
    """With the documentation's hook, a browser lets `fetch` send its position to another origin."""
    stream = f"{app.url}/everything/x"
    heard = clients.open("fetch-event-source.js", stream, host="localhost")
    for number in range(3):
        emitter.emit("x", number)
        expected = Heard(list(range(number + 1)), 0)
        wait_until(functools.partial(has_heard, heard, expected), 30, lambda: f"{heard()}")
        kill(app)


@pytest.mark.parametrize("version", ["2", "2-module", "4"])
def test_htmx_swaps_each_event_once(
    own_redis_server: RedisServer, app: App, emitter: Emitter, browse: Browse, version: str
):
    """htmx swaps each event once and in order, loads the state at `reset`, and stops at `end`."""
    page = browse()
    page.get(f"{app.url}/cards/page/{version}")
    cards = functools.partial(page.execute_script, "return document.querySelector('ul').innerHTML")
    expected = ""

    def emit_and_wait() -> None:
        nonlocal expected
        for _ in range(3):
            card = f'<li class="card">{secrets.token_hex(4)}</li>'
            emitter.emit_html("cards", card)
            expected += card
        wait_until(lambda: cards() == expected, 30, lambda: f"{cards()} is not {expected}")

    emit_and_wait()
    reload(app)
    emit_and_wait()
    kill(app)
    emit_and_wait()
    if version == "2-module":
        # With a source of its own, htmx comes back from here without its position.
        app.server.terminate()
        refuse_once(app.server.port, "/stream/cards")
        app.server.start()
        emit_and_wait()
    own_redis_server.restart()
    expected = "<li>all cards</li>"
    wait_until(lambda: cards() == expected, 30, cards)
    emit_and_wait()

    emitter.emit("cards", False)
    assert_it_is_over(app, "cards", "/stream/cards")
    assert cards() == expected


def test_frameworks_show_each_order_once(app: App, emitter: Emitter, browse: Browse):
    """React, Vue and Svelte load the orders, show those to come once, and stop with the page."""
    for number in range(3):
        emitter.emit("orders", number)
    page = browse()
    page.get(f"{app.url}/frameworks")

    def shown() -> Any:
        return page.execute_script("return window.shown?.()")

    def all_show(count: int) -> bool:
        return bool((now := shown()) and all(len(each[1]) >= count for each in now.values()))

    # Each of them adds an order when it loads them.
    wait_until(lambda: all_show(5), 30, lambda: f"{shown()}")
    kill(app)
    added = [f"more {number}" for number in range(3)]
    for order in added:
        emitter.emit("orders", order)
    wait_until(lambda: all(each[1][-1] == added[-1] for each in shown().values()), 30)

    for name, (state, orders) in shown().items():
        assert state == "live", name
        assert orders == [0, 1, 2, *range(3, len(orders) - 3), *added], name
    page.execute_script("leave()")
    wait_until(lambda: app.subscribers("orders") == 0, 20)


def test_turbo_does_each_action_once(app: App, emitter: Emitter, browse: Browse):
    """Turbo takes the module's source for its stream, which comes back where it was."""
    page = browse()
    page.get(f"{app.url}/board")
    wait_until(lambda: app.subscribers("board") == 1, 20)
    wait_until(lambda: int(app.state()["metrics"].get("handed_off", 0)) == 1, 20)

    def cards() -> str:
        return str(page.execute_script("return document.querySelector('ul').textContent"))

    def emit(number: int) -> None:
        card = f"<template><li>{number}</li></template>"
        action = f'<turbo-stream action="append" target="cards">{card}</turbo-stream>'
        emitter.emit_html("board", action)

    emit(1)
    wait_until(lambda: cards() == "1", 20)
    kill(app)
    emit(2)
    emit(3)

    wait_until(lambda: cards() == "123", 20, cards)


def test_curl_prints_what_follows_an_id(app: App, emitter: Emitter):
    """curl prints the stream at once, from behind an id if it has one."""
    ids = [str(emitter.emit("x", number)) for number in range(3)]
    command = ["sh", str(CLIENTS / "curl.sh"), f"{app.url}/channel/x", ids[0]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as curl:
        try:
            lines = iter(curl.stdout.readline, f"id: {ids[2]}\n")
            assert [line for line in lines if line.startswith("data: ")][1:] == ["data: 1\n"]
            assert curl.stdout.readline() == "data: 2\n"
        finally:
            curl.terminate()
    ended = subprocess.run([*command[:3], "5-1.end"], capture_output=True, timeout=20)
    assert (ended.returncode, ended.stdout) == (0, b"")
