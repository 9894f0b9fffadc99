"""Streams behind a guest: a middleware of somebody else's, from Sentry's to one that fails.

A guest sees a response whose body ends early, as the hub goes on with it.  It may do whatever WSGI
allows, and must not reach the client any more.
"""

from __future__ import annotations

from typing import Any

import gunicorn
import pytest

from tests.e2e.conftest import App, Start
from tests.support.sse_client import SSEClient
from tests.support.waiting import wait_until

WATCHING = ["sentry", "opentelemetry", "opentelemetry_flask", "header", "copy"]
WRITING = ["append", "write"]
FAILING = ["fail", "time out", "fail to close"]
#: What `WRITING` write after the body.
APPENDED = b"<!-- appended -->"

each_stream = pytest.mark.parametrize("path", ["/channel/x", "/callback/x"])
each_short_stream = pytest.mark.parametrize("path", ["/short/x", "/short-callback/x"])


def behind(start: Start, guest: str, kind: str = "gevent") -> App:
    return start(kind, app=f"tests.support.apps.guests:create_app({guest!r})")


def wait_for_hand_off(app: App) -> None:
    wait_until(lambda: app.handed_off() == 1, message="The stream was not handed off")


def emit_and_take(app: App, client: SSEClient, messages: list[Any]) -> list[Any]:
    """Emit messages, and return what the client receives of them; a callback adds the channel."""
    app.request("POST", "/emit-many/x", messages)
    received = [client.next_data() for _ in messages]
    return [value[-1] if isinstance(value, list) else value for value in received]


def seen(app: App, path: str) -> list[Any]:
    """Return what the guest saw of the requests for a path."""
    return [one for one in app.request("GET", "/guest")[2] if one["path"] == path]


# -- guests that only watch ------------------------------------------------------------------------


@pytest.mark.parametrize("guest", WATCHING)
@each_stream
def test_a_stream_is_handed_off_behind_a_guest_that_only_watches(start: Start, guest, path):
    """Messages arrive in order, and the hub notices that the client leaves."""
    app = behind(start, guest)
    with app.ready(path) as client:
        wait_for_hand_off(app)
        for first in (0, 20):
            messages = list(range(first, first + 20))
            assert emit_and_take(app, client, messages) == messages
    wait_until(lambda: app.state()["streams"] == 0)

    assert app.state()["metrics"]["closed.gone"] == 1
    assert "Traceback" not in app.server.log


@pytest.mark.parametrize("guest", WATCHING)
@each_short_stream
def test_a_stream_ends_cleanly_behind_a_guest_that_only_watches(start: Start, guest, path):
    """At its max_age the body ends as its framing says, after the farewell."""
    app = behind(start, guest)
    with app.ready(path) as client:
        assert client.wait_closed()
        client.wait_disconnected()

        assert client.events[-1].event == "reconnect"
    assert app.handed_off() == 1
    assert app.state()["metrics"]["closed.max age"] == 1
    assert "Traceback" not in app.server.log


@each_stream
def test_a_header_that_a_guest_adds_is_sent(start: Start, path: str):
    """Its own start_response is called as ever, and once."""
    app = behind(start, "header")
    with app.ready(path) as client:
        wait_for_hand_off(app)

        assert client.headers.get_all("X-Guest") == ["header"]
        assert client.headers["Content-Type"] == "text/event-stream"


@each_short_stream
def test_sentry_sees_one_transaction_for_each_stream(start: Start, path: str):
    """And no error, although the body ended early."""
    app = behind(start, "sentry")
    with app.ready(path) as client:
        assert client.wait_closed()

    assert app.handed_off() == 1
    assert seen(app, path) == [{"type": "transaction", "path": path, "errors": []}]


def test_sentry_is_told_of_a_callback_that_fails(start: Start):
    """A callback that raises after the hand-off is reported, and the stream goes on."""
    app = behind(start, "sentry")
    with app.ready("/callback/x") as client:
        wait_for_hand_off(app)
        app.emit("x", "raise")
        assert emit_and_take(app, client, [1]) == [1]
        errors = [one["errors"] for one in app.request("GET", "/guest")[2] if one["errors"]]

    assert errors == [["RuntimeError"]]


@pytest.mark.parametrize("guest", ["opentelemetry", "opentelemetry_flask"])
@each_short_stream
def test_opentelemetry_ends_one_span_for_each_stream(start: Start, guest, path):
    """The span of the request ends, once, and with its status."""
    app = behind(start, guest)
    with app.ready(path) as client:
        assert client.wait_closed()

    assert app.handed_off() == 1
    assert seen(app, path) == [{"path": path, "status": 200, "ended": True, "errors": []}]
    assert "Failed to detach context" not in app.server.log


# -- guests that do something after the body -------------------------------------------------------


@pytest.mark.parametrize("guest", WRITING + FAILING)
@each_stream
def test_nothing_but_the_hub_writes_to_a_handed_off_stream(start: Start, guest, path):
    """A guest that writes or raises after the body does not reach the client, nor cut it off."""
    app = behind(start, guest)
    with app.ready(path) as client:
        wait_for_hand_off(app)
        assert emit_and_take(app, client, [1, 2, 3]) == [1, 2, 3]
        app.server.terminate()

        # The client is strict about the framing: a byte too many fails it.
        assert client.wait_closed()
        client.wait_disconnected()
        assert client.events[-1].event == "reconnect"
        assert client.raw.count(b"HTTP/1.1") == 1
        assert APPENDED not in client.raw
    # gunicorn logs what a guest raises, as it does for every response; before 23, exceptions only.
    logged = [one for one in FAILING if one != "time out" or gunicorn.version_info >= (23,)]
    assert ("Error handling request" in app.server.log) == (guest in logged)


@pytest.mark.parametrize("guest", WRITING)
@each_short_stream
def test_a_guest_has_the_last_word_where_nothing_is_handed_off(start: Start, guest, path):
    """A stream that gunicorn writes to its end is an ordinary response."""
    app = behind(start, guest, kind="generator")
    with app.ready(path) as client:
        assert client.wait_closed()

    assert client.body.endswith(b"\n\n" + APPENDED)
    assert app.handed_off() == 0


@each_stream
def test_a_guest_that_changes_the_body_sees_all_of_it(start: Start, path: str):
    """Nothing is handed off behind it, as the hub's bytes would not pass through it."""
    app = behind(start, "change")
    with app.ready(path) as client:
        for number in range(3):
            assert emit_and_take(app, client, [number]) == [number]

        # One before `ready`, and one before each message.
        assert client.body.count(b": changed\n\n") >= 4
        assert app.handed_off() == 0
