"""Handing a client's socket to the hub: when it happens, and when it must not."""

from __future__ import annotations

import re
import socket

import httpx
import pytest

from tests.support.servers import Gunicorn, RedisServer
from tests.support.sse_client import SSEClient
from tests.support.waiting import wait_until

from .conftest import Start


def handed_off(app) -> int:
    return app.state()["metrics"].get("handed_off", 0)


@pytest.mark.parametrize(
    "kind, path, expected",
    [
        ("gevent", "/channel/x", 1),
        ("preload", "/channel/x", 1),
        ("gevent", "/backlog/x", 1),
        ("gevent", "/plain/x", 1),
        ("gevent", "/short/x", 1),
        ("gevent", "/open/x", 1),
        ("gevent", "/once/x", 1),
        ("gevent", "/shared", 1),
        ("gevent", "/callback/x", 1),
        ("gevent", "/pull/x", 1),
        ("gevent", "/quiet", 1),
        ("generator", "/channel/x", 0),
        ("gevent_pywsgi", "/channel/x", 0),
        ("gthread", "/channel/x", 0),
        ("flask", "/channel/x", 0),
    ],
)
def test_every_stream_is_handed_off(start: Start, kind, path, expected):
    """Every kind of stream is handed off under gunicorn's gevent worker, and nowhere else."""
    app = start(kind)
    with app.ready(path):
        wait_until(lambda: app.state()["streams"] == 1)

        assert handed_off(app) == expected


def test_the_head_is_what_it_always_is(start: Start):
    """A handed-off stream has the same headers as any other."""
    heads = []
    for kind in ("gevent", "generator"):
        app = start(kind)
        with app.ready("/channel/x") as client:
            head = client.raw.partition(b"\r\n\r\n")[0].decode()
            heads.append(re.sub(r"Date: [^\r]*", "Date:", head))

    assert heads[0] == heads[1]
    assert "Transfer-Encoding: chunked" in heads[0]
    assert "Connection: close" in heads[0]


def test_http_1_0_is_not_chunked(start: Start):
    """A stream over HTTP/1.0, nginx's default, is not chunked, and ends with a close."""
    app = start()
    with socket.create_connection(("127.0.0.1", app.server.port), timeout=5) as client:
        client.sendall(b"GET /short/x HTTP/1.0\r\nHost: x\r\n\r\n")
        received = b""
        while b"event: ready" not in received:
            received += client.recv(65536)
        app.emit("x", "hello")
        while data := client.recv(65536):
            received += data
        head, _, body = received.partition(b"\r\n\r\n")

    assert b"chunked" not in head
    assert b'data: "hello"\n\n' in body
    assert body.endswith(
        b'event: reconnect\nretry: %s\ndata: {"reason":"max age"}\n\n' % retry(body)
    )
    assert handed_off(app) == 1


def retry(body: bytes) -> bytes:
    found = re.findall(rb"retry: (\d+)", body)
    assert found
    return bytes(found[-1])


def test_the_access_log_has_a_line_when_it_ends(start: Start):
    """gunicorn's logger writes the line when the stream ends, with its true duration and size."""
    app = start(args=["--access-logformat", "%(r)s %(s)s %(B)s %(L)s %({user-agent}i)s"])
    with app.ready("/short/x", headers={"User-Agent": "the-test"}) as client:
        assert client.wait_closed()
        size = len(client.body)
    wait_until(lambda: "/short/x" in app.server.access_log)
    (line,) = [line for line in app.server.access_log.splitlines() if "/short/x" in line]
    found = re.fullmatch(r"GET /short/x HTTP/1.1 200 (\d+) ([\d.]+) the-test", line)

    assert found, line
    # The size has the body, and the chunk sizes of the frames that the hub wrote.
    assert size <= int(found[1]) <= size + 40
    assert 0.5 <= float(found[2]) < 5


def test_a_middleware_in_between_keeps_its_say(redis_server: RedisServer, prefix: str):
    """A middleware may add a header; where it sends another body, nothing is handed off."""
    env = {
        "TEST_REDIS_EVENTS_URL": redis_server.url,
        "TEST_REDIS_EVENTS_PREFIX": f'"{prefix}"',
    }
    with (
        Gunicorn("tests.support.apps.wrapped:create_app()", workers=1, env=env) as server,
        SSEClient(server.url + "/channel/x") as client,
    ):
        assert client.next().event == "ready"
        assert client.headers["X-Wrapped"] == "yes"
        with SSEClient(server.url + "/replaced") as replaced:
            replaced.wait_closed()
            assert replaced.body == b"another body"
        assert httpx.get(server.url + "/state").json()["metrics"]["handed_off"] == 1


def test_a_middleware_that_passes_everything_on_is_none(redis_server: RedisServer, prefix: str):
    """Behind middlewares that pass start_response on, streams are handed off."""
    env = {
        "TEST_REDIS_EVENTS_URL": redis_server.url,
        "TEST_REDIS_EVENTS_PREFIX": f'"{prefix}"',
    }
    with Gunicorn("tests.support.apps.passed_through:create_app()", workers=1, env=env) as server:

        def emit(data: object) -> None:
            assert httpx.post(server.url + "/emit/x", json=data).status_code == 200

        with SSEClient(server.url + "/channel/x") as client:
            assert client.next().event == "ready"
            wait_until(lambda: httpx.get(server.url + "/state").json()["metrics"]["handed_off"])
            for number in range(3):
                emit(number)
            assert [client.next_data() for _ in range(3)] == [0, 1, 2]
        # The middleware holds a chunk back, so the hub must not write later ones before it.
        with SSEClient(server.url + "/foreign/x") as late:
            assert late.next().event == "ready"
            for number in range(3):
                emit(number)
            assert [late.next_data() for _ in range(3)] == [0, 1, 2]
        assert httpx.get(server.url + "/state").json()["metrics"]["handed_off"] == 1
        assert "StopIteration" not in server.log


@pytest.mark.parametrize("path", ["/channel/x", "/callback/x"])
def test_who_waits_for_redis_holds_no_context(
    own_redis_server: RedisServer, start: Start, path: str
):
    """A stream that waits for Redis holds no application context, and so no database session."""
    app = start(redis=own_redis_server)
    with app.ready(path):
        own_redis_server.stop()
        before = app.state()["teardowns"]
        waiting = [app.stream(path) for _ in range(3)]

        # The count includes the contexts of this request and of the one before.
        assert app.state()["teardowns"] - before >= len(waiting) + 2
        own_redis_server.start()
        for client in waiting:
            assert client.until(lambda event: event.event == "ready", 10)
            client.close()


def test_other_requests_are_served_beside_many_streams(start: Start):
    """Handed-off streams occupy no greenlet, so other requests are served."""
    app = start(args=["--worker-connections", "20"], env={"MAX_STREAMS": "500"})
    clients = [app.ready("/channel/x") for _ in range(200)]

    assert app.request("GET", "/")[0] == 200
    assert app.state()["streams"] == 200
    app.emit("x", 1)
    assert [client.next_data() for client in clients] == [1] * 200
    for client in clients:
        client.close()
    wait_until(lambda: app.state()["streams"] == 0)
    wait_until(lambda: app.subscribers("x") == 0)


def test_a_worker_that_has_no_other_requests_still_says_farewell(start: Start):
    """A worker whose streams are all handed off ends at once, and its streams still end cleanly."""
    for _ in range(3):
        app = start()
        clients = [app.ready("/channel/x") for _ in range(20)]
        app.server.terminate()
        for client in clients:
            assert client.wait_closed(2)
            assert client.events[-1].event == "reconnect"
            client.close()
