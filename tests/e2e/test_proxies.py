"""Streams behind proxies, each with the configuration of the documentation."""

from __future__ import annotations

import http.client
import os
import secrets
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_redis_events import Emitter
from tests.support.proxies import PROXIES, Proxy, which
from tests.support.servers import RedisServer
from tests.support.sse_client import CERTIFICATE, EventSource, SSEClient
from tests.support.waiting import wait_until

from .conftest import App, starting

#: Proxies that notice a client that leaves only when they write to it: with the second heartbeat.
WRITERS = {"apache"}
#: The documented timeouts, and shorter ones.
TIMEOUTS = {
    "nginx": {"proxy_read_timeout 60s": "proxy_read_timeout 2s"},
    "haproxy": {
        "timeout client 60s": "timeout client 2s",
        "timeout server 60s": "timeout server 2s",
    },
    "apache": {"ProxyTimeout 60": "ProxyTimeout 2"},
}
#: What to add to the documented files, so that the proxy compresses what it can.
COMPRESSION = {
    "nginx": ("proxy_buffering off;", "gzip on; gzip_types text/event-stream;"),
    "haproxy": ("backend streams\n", "compression algo gzip\n"),
    "apache": ("ProxyPreserveHost on", "\nSetOutputFilter DEFLATE"),
    "caddy": ("shop.example {", "\nencode gzip\n"),
}


class Shop:
    """The application, and a proxy before it."""

    def __init__(self, name: str, app: App, proxy: Proxy, directory: Path) -> None:
        self.name = name
        self.app = app
        self.proxy = proxy
        self.directory = directory

    def url(self, path: str) -> str:
        return f"{self.proxy.url}/stream{path}"

    def ready(self, path: str, **options: str) -> SSEClient:
        client = SSEClient(self.url(path), options)
        assert client.next().event == "ready"
        return client

    def connect(self) -> http.client.HTTPConnection:
        if self.proxy.url.startswith("http:"):
            return http.client.HTTPConnection("localhost", self.proxy.port, timeout=5)
        context = ssl.create_default_context(cafile=CERTIFICATE)
        return http.client.HTTPSConnection("localhost", self.proxy.port, timeout=5, context=context)


@pytest.fixture(scope="module", params=PROXIES)
def shop(request: pytest.FixtureRequest, redis_server: RedisServer) -> Iterator[Shop]:
    """One of the proxies.  Only `/foreign` has heartbeats: each 0.3 seconds."""
    name = request.param
    kind = PROXIES[name]
    if which(kind.command[0]) is None:
        message = f"{kind.command[0]} is needed on the PATH."
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with (
        tempfile.TemporaryDirectory(prefix="redis-events-") as directory,
        starting(redis_server, f"test-{secrets.token_hex(4)}:") as start,
    ):
        shared = Path(directory)
        shared.chmod(0o755)
        app = start(
            app="tests.support.apps.shop:create_app()",
            args=["--bind", f"unix:{shared}/gunicorn.sock"],
            env={"HEARTBEAT": "60"},
        )
        with Proxy(kind, shared) as proxy:
            yield Shop(name, app, proxy, shared)


def test_events_pass_at_once_and_in_order(shop: Shop):
    """The first byte and each event pass at once; many events keep their order."""
    with shop.ready("/channel/order") as client:
        for number in range(5):
            shop.app.emit("order", number)

            assert client.next_data(2) == number
        shop.app.request("POST", "/emit-many/order", list(range(300)))

        assert [client.next_data() for _ in range(300)] == list(range(300))


@pytest.mark.parametrize("shop", TIMEOUTS, indirect=True)
def test_heartbeats_keep_a_stream_open(shop: Shop):
    """An idle stream outlives the proxy's timeout; without heartbeats it would not."""
    with (
        Proxy(PROXIES[shop.name], shop.directory, replace=TIMEOUTS[shop.name]) as proxy,
        SSEClient(f"{proxy.url}/stream/channel/idle") as silent,
        SSEClient(f"{proxy.url}/stream/foreign/idle") as client,
    ):
        started = time.monotonic()
        while time.monotonic() < started + 2.5:
            client.next(2)

        assert client.events[-1].event == "heartbeat"
        silent.wait_closed(2)


def test_the_connection_can_be_used_again(shop: Shop):
    """Over HTTP/1.1 the body is chunked, and the connection takes another request after it."""
    connection = shop.connect()
    connection.request("GET", "/stream/poll")
    response = connection.getresponse()

    assert (response.version, response.getheader("Transfer-Encoding")) == (11, "chunked")
    assert response.read().endswith(b"event: end\ndata: {}\n\n")
    used = connection.sock
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"here"
    # Varnish passes gunicorn's own connection through.
    assert (connection.sock is used) is (shop.name != "varnish")
    connection.close()


def test_leaving_is_noticed(shop: Shop):
    """A client that leaves is noticed at once, or with the second heartbeat."""
    path = "foreign" if shop.name in WRITERS else "channel"
    with shop.ready(f"/{path}/x"):
        wait_until(lambda: shop.app.subscribers("x") == 1)

    wait_until(lambda: shop.app.subscribers("x") == 0, 3)


@pytest.mark.parametrize("shop", [name for name in PROXIES if name != "varnish"], indirect=True)
def test_leaving_is_noticed_over_http_2(shop: Shop):
    """The same over HTTP/2, where the proxy speaks it."""
    path = shop.url("/foreign/y" if shop.name in WRITERS else "/channel/y")
    command = ["curl", "-sSN", "--http2", "--cacert", str(CERTIFICATE), path, "-D", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as curl:
        head = b""
        while b"event: ready" not in head:
            head += curl.stdout.readline()
        wait_until(lambda: shop.app.subscribers("y") == 1)
        curl.terminate()

    assert head.startswith(b"HTTP/2 200")
    wait_until(lambda: shop.app.subscribers("y") == 0, 3)


def test_a_reload_loses_nothing(shop: Shop):
    """After a reload of gunicorn, the client has each message once."""
    with EventSource(shop.url("/foreign/reload")) as source:
        source.wait_for(lambda events: any(event.event == "ready" for event in events))
        old = shop.app.server.worker_pids()
        shop.app.emit("reload", 0)
        shop.app.server.reload()
        for number in range(1, 30):
            shop.app.emit("reload", number)
        source.wait_connected(2, 10)
        source.wait_for(lambda events: sum(e.event == "message" for e in events) == 30, 10)

        assert source.data == list(range(30))
    wait_until(lambda: not set(old) & set(shop.app.server.worker_pids()), 5)


def test_a_gunicorn_that_is_away(shop: Shop):
    """While gunicorn is away, the client tries again, and loses nothing; at Apache it gives up."""
    with EventSource(shop.url("/foreign/away")) as source:
        source.wait_for(lambda events: any(event.event == "ready" for event in events))
        shop.app.server.terminate()
        Emitter(redis=shop.app.redis, prefix=shop.app.prefix).emit("away", 1)
        if shop.name == "apache":
            assert source.wait_stopped() in (502, 503)
        elif shop.name != "varnish":  # which only closes the connection
            source.wait_for(lambda events: '{"reason":"no server"}' in [e.data for e in events])
        shop.app.server.start()
        if shop.name != "apache":
            source.wait_for(lambda events: events[-1].event == "message")

            assert source.data == [1]
    with shop.ready("/channel/away"):
        pass


@pytest.mark.parametrize("shop", COMPRESSION, indirect=True)
def test_compression_holds_no_event(shop: Shop):
    """A proxy that compresses sends each event at once, too, or leaves the stream as it is."""
    documented, added = COMPRESSION[shop.name]
    kind = PROXIES[shop.name]
    ours = kind.replace.get(documented, documented) + added
    with (
        Proxy(kind, shop.directory, replace={documented: ours}) as proxy,
        SSEClient(f"{proxy.url}/stream/channel/gzip", {"Accept-Encoding": "gzip"}) as client,
    ):
        assert client.next().event == "ready"
        for number in range(5):
            shop.app.emit("gzip", number)

            assert client.next_data(2) == number
