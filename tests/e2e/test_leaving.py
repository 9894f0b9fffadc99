"""Clients that leave, after which nothing of them remains."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import psutil
import pytest

from tests.support.servers import RedisServer
from tests.support.sse_client import SSEClient
from tests.support.waiting import wait_until

from .conftest import App, Start


def close(client: SSEClient) -> None:
    client.close()


def half_close(client: SSEClient) -> None:
    client.half_close()


def junk_and_close(client: SSEClient) -> None:
    client.send(b"GET / HTTP/1.1\r\n\r\n" * 50)
    client.close()


def too_much_junk(client: SSEClient) -> None:
    # The server ends the connection while this client still sends.
    with contextlib.suppress(ConnectionError):
        for _ in range(20):
            client.send(b"x" * 8192)


LEAVE = pytest.mark.parametrize("leave", [close, half_close, junk_and_close, too_much_junk])


def seconds_until_free(app: App, channel: str) -> float:
    started = time.monotonic()
    wait_until(lambda: app.subscribers(channel) == 0, 10)
    return time.monotonic() - started


@LEAVE
@pytest.mark.parametrize(
    "kind, path",
    [("gevent", "channel"), ("generator", "channel"), ("gevent", "callback"), ("gevent", "pull")],
)
def test_leaving_is_noticed_at_once(
    start: Start, kind: str, path: str, leave: Callable[[SSEClient], None]
):
    """Under gunicorn's gevent worker, the socket reports a leaving client before any heartbeat."""
    app = start(kind, env={"HEARTBEAT": "60"})
    with app.ready(f"/{path}/x") as client:
        wait_until(lambda: app.subscribers("x") == 1)
        leave(client)

        assert seconds_until_free(app, "x") < 1
    wait_until(lambda: app.state()["streams"] == 0)
    assert app.state()["metrics"]["closed.gone"] == 1


@pytest.mark.parametrize("server", ["gevent", "generator", "gthread"])
@pytest.mark.parametrize("kind", ["callback", "pull"])
def test_a_stream_is_closed_when_its_code_has_gone_on(start: Start, server: str, kind: str):
    """`on_close` comes after the last call of its stream, also of one that waits meanwhile."""
    app = start(server, env={"HEARTBEAT": "0.3"})
    with app.ready(f"/patient/{kind}/x") as client:
        app.emit("x", 1)
        wait_until(lambda: app.state()["called"] == ["x"])
        client.close()

        wait_until(lambda: len(app.state()["closed"]) == 2)
    assert app.state()["closed"] == ["x: went on", "x: gone"]
    wait_until(lambda: app.state()["streams"] == 0)
    assert app.state()["metrics"]["closed.gone"] == 1


@LEAVE
@pytest.mark.parametrize("kind", ["gevent_pywsgi", "gthread", "flask"])
def test_leaving_is_noticed_by_heartbeats_elsewhere(
    start: Start, kind: str, leave: Callable[[SSEClient], None]
):
    """Elsewhere, the second heartbeat at the latest finds that the client has left."""
    app = start(kind, env={"HEARTBEAT": "0.5"})
    with app.ready("/channel/x") as client:
        wait_until(lambda: app.subscribers("x") == 1)
        leave(client)

        assert seconds_until_free(app, "x") < 3
    wait_until(lambda: app.state()["streams"] == 0)


@pytest.mark.parametrize("kind", ["gevent", "generator", "gthread"])
def test_a_poll_that_is_slower_than_its_interval_is_left(start: Start, kind: str):
    """A poll slower than its interval notices a client that leaves, and a worker that ends."""
    app = start(kind)
    with app.ready("/slow-poll") as client:
        wait_until(lambda: app.state()["streams"] == 1)
        client.close()
        wait_until(lambda: app.state()["streams"] == 0)
    with app.ready("/slow-poll") as client:
        app.server.terminate()

        assert client.wait_closed(2)
        assert client.events[-1].event == "reconnect"


@pytest.mark.parametrize("kind", ["gevent", "gthread"])
@pytest.mark.parametrize("path", ["/channel/x", "/callback/x", "/pull/x"])
def test_nobody_waits_for_a_redis_that_hangs(
    own_redis_server: RedisServer, start: Start, kind: str, path: str
):
    """While Redis hangs, heads are sent, leaving clients are noticed, and the worker can end."""
    app = start(kind, redis=own_redis_server, env={"HEARTBEAT": "0.5"})
    with app.ready(path) as client:
        id = client.decoder.last_event_id
    wait_until(lambda: app.state()["streams"] == 0)
    app.emit("x", "missed")
    # The channel is subscribed to, but the worker has no history that the client missed.
    with app.ready(path):
        own_redis_server.pause()
        try:
            started = time.monotonic()
            with app.stream(path, last_event_id=id, timeout=2):
                wait_until(lambda: app.state()["streams"] == 2)
            wait_until(lambda: app.state()["streams"] == 1, 2)
            with app.stream(path, last_event_id=id, timeout=2):
                app.server.terminate()

            assert time.monotonic() - started < 7
        finally:
            own_redis_server.resume()


@pytest.mark.parametrize("kind", ["gevent", "generator"])
def test_a_little_junk_does_no_harm(start: Start, kind: str):
    """Unexpected bytes from a client are discarded, and the connection is not reused."""
    app = start(kind)
    with app.ready("/channel/x") as client:
        client.send(b"junk\r\n")
        app.emit("x", 1)

        assert client.next_data() == 1
    with app.ready("/callback/x") as client:
        client.send(b"junk\r\n")
        app.emit("x", 1)

        assert client.next_data() == ["x", 1]
        app.emit("x", "false")
        assert client.until(lambda event: event.event == "end")
        assert client.wait_closed()


def test_the_last_one_unsubscribes(start: Start):
    """A channel is subscribed to once, and only while it has clients."""
    app = start()
    with app.ready("/channel/x") as one:
        with app.ready("/channel/x"):
            assert app.subscribers("x") == 1
        wait_until(lambda: app.state()["streams"] == 1)
        app.emit("x", 1)

        assert one.next_data() == 1
        assert app.subscribers("x") == 1
    wait_until(lambda: app.subscribers("x") == 0)


def test_leaving_and_joining_again_misses_nothing(start: Start):
    """The acknowledgement of an earlier SUBSCRIBE makes no client live too soon."""
    app = start()
    for number in range(50):
        with app.ready("/channel/x") as client:
            app.emit("x", number)

            assert client.next_data() == number


def test_a_thousand_comings_and_goings_leave_nothing(start: Start):
    """After a thousand clients, no stream, thread, descriptor or subscription remains."""
    app = start()
    with app.ready("/pull/x"), app.ready("/channel/x"):
        pass
    wait_until(lambda: app.state()["streams"] == 0)
    before = app.state()
    process = psutil.Process(before["pid"])
    descriptors = process.num_fds()
    for number in range(200):
        clients = [app.ready(f"/{path}/x{number}") for path in ("channel", "pull", "callback")]
        for client in clients:
            client.close()
    wait_until(lambda: app.state()["streams"] == 0)

    assert app.state()["threads"] <= before["threads"] + 2
    wait_until(lambda: process.num_fds() <= descriptors + 3)
    wait_until(lambda: app.subscribers("x7") == 0)
