"""A client that does not read costs bounded memory, and slows no other client."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from pathlib import Path

import pytest

from flask_redis_events import Emitter
from tests.support.servers import Gunicorn, RedisServer
from tests.support.sse_client import SSEClient
from tests.support.waiting import wait_until

from .conftest import APP, App, Start

LARGE = "x" * 100_000


def stall(app: App, path: str) -> SSEClient:
    """Open a stream, and read only its beginning."""
    return app.ready(path, receive_buffer=4096)


def flood(app: App, count: int) -> None:
    for number in range(count):
        app.emit("x", [number, LARGE])


PATHS = pytest.mark.parametrize(
    "kind, path",
    [
        ("gevent", "/channel/x"),
        ("generator", "/channel/x"),
        ("gevent", "/callback/x"),
        ("gevent", "/iterate/x"),
    ],
)
KINDS = pytest.mark.parametrize("kind", ["gevent", "generator"])


@PATHS
def test_close_cuts_it_and_it_resumes(start: Start, kind: str, path: str):
    """With `close`, the connection is cut, and the reconnecting client gets the missed messages."""
    env = {"BUFFER": "1000000", "HISTORY": "500", "MAX_REPLAY": "20000000"}
    app = start(kind, env=env)
    with stall(app, path) as stalled:
        flood(app, 120)
        wait_until(lambda: app.state()["metrics"].get("closed.overflow") == 1, 10)
        wait_until(lambda: app.state()["streams"] == 0)
        stalled.wait_closed(10)
        got = [event for event in stalled.events if event.event == "message"]
    if path != "/channel/x":
        return
    with app.stream("/channel/x", last_event_id=stalled.decoder.last_event_id) as client:
        numbers = [json.loads(event.data)[0] for event in got]
        while len(numbers) < 120:
            numbers.append(client.next_data()[0])

    assert numbers == list(range(120))


def test_a_generator_that_falls_behind_is_cut(start: Start):
    """No heartbeat moves the client past messages that its slow generator has not handled."""
    app = start(env={"BUFFER": "1000000"})
    with app.ready("/slow/x") as client:
        flood(app, 20)
        client.wait_closed(10)

        # Its generator still handles the message that it had taken.
        wait_until(lambda: app.state()["metrics"].get("closed.overflow") == 1)
        numbers = [int(event.data) for event in client.events if event.event == "message"]
        assert numbers == list(range(len(numbers)))
    with app.stream("/channel/x", last_event_id=client.decoder.last_event_id) as again:
        while len(numbers) < 20:
            numbers.append(again.next_data()[0])

    assert numbers == list(range(20))


def test_a_generator_that_falls_behind_and_may_drop(start: Start):
    """With `drop`, the client is sent one `reset` for messages that the generator never got."""
    app = start(env={"BUFFER": "1000000", "OVERFLOW": "drop"})
    with app.ready("/slow/x") as client:
        flood(app, 20)
        client.until(lambda event: event.event == "reset")
        got = [int(client.next_data())]
        while got[-1] != 19:
            got.append(int(client.next_data()))

        assert got == sorted(set(got))
        assert len(got) < 20


@pytest.mark.parametrize("path", ["/channel/x", "/callback/x", "/iterate/x", "/once/x"])
def test_a_client_catches_up_on_more_than_its_buffer(start: Start, path: str):
    """A client gets all missed messages, even if they exceed its buffer."""
    app = start(env={"BUFFER": "200000"})
    with app.ready(path) as client:
        first = client.decoder.last_event_id
    flood(app, 30)
    with app.ready(path, last_event_id=first) as client:
        for number in range(30):
            event = client.until(lambda event: event.event == "message")
            assert f"[{number}," in event.data
        assert "closed.overflow" not in app.state()["metrics"]


@KINDS
def test_a_write_that_takes_too_long_is_cut(start: Start, kind: str):
    """WRITE_TIMEOUT cuts the connection of a client that stopped reading, even below BUFFER."""
    app = start(kind, env={"WRITE_TIMEOUT": "1", "BUFFER": "1000000000"})
    with stall(app, "/channel/x"):
        flood(app, 60)
        wait_until(lambda: app.state()["metrics"].get("closed.write timeout") == 1, 10)
        wait_until(lambda: app.subscribers("x") == 0)


@pytest.mark.parametrize("kind", ["gevent", "gthread"])
def test_nor_does_the_end_save_it(start: Start, kind: str):
    """A stream that has ended while its writer is blocked is cut, too."""
    app = start(kind, env={"WRITE_TIMEOUT": "1", "BUFFER": "1000000000"})
    with stall(app, "/callback/x"):
        # One batch, so that the stream has ended before its writer is blocked.
        app.request("POST", "/emit-many/x", [LARGE] * 60 + ["false"])
        wait_until(lambda: app.state()["streams"] == 0, 10)


class OverTLS(Gunicorn):
    """gunicorn with TLS."""

    files = Path(__file__).parents[1] / "support" / "tls"

    def _ready(self) -> bool:
        try:
            self.connect().close()
        except OSError:
            return False
        return True

    def connect(self) -> ssl.SSLSocket:
        plain = socket.socket()
        plain.settimeout(5)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        context = ssl.create_default_context(cafile=str(self.files / "cert.pem"))
        try:
            plain.connect(("127.0.0.1", self.port))
            return context.wrap_socket(plain, server_hostname="localhost")
        except OSError:
            plain.close()
            raise


def test_over_tls_it_is_cut_as_well(redis_server: RedisServer, prefix: str):
    """A stalled client over TLS is cut, although its socket cannot be watched."""
    settings = {"URL": redis_server.url, "PREFIX": json.dumps(prefix)}
    settings |= {"WRITE_TIMEOUT": "1", "BUFFER": "1000000000"}
    cert, key = OverTLS.files / "cert.pem", OverTLS.files / "key.pem"
    emitter = Emitter(redis_server.url, prefix=prefix)
    with (
        OverTLS(
            APP,
            workers=1,
            args=["--certfile", str(cert), "--keyfile", str(key)],
            env={f"TEST_REDIS_EVENTS_{name}": value for name, value in settings.items()},
        ) as server,
        server.connect() as client,
    ):
        client.sendall(b"GET /channel/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b""
        while b"event: ready" not in received:
            received += client.recv(4096)
        for _ in range(60):
            emitter.emit("x", LARGE)
        redis, channel = redis_server.client(), prefix + "x"
        wait_until(lambda: redis.pubsub_numsub(channel)[0][1] == 0, 10)
    emitter.close()


@PATHS
def test_drop_keeps_the_newest_and_says_so(start: Start, kind: str, path: str):
    """With `drop`, one `reset` stands for the dropped messages; the newest follow in order."""
    app = start(kind, env={"OVERFLOW": "drop", "BUFFER": "1000000"})
    with stall(app, path) as stalled:
        flood(app, 120)
        got: list[int] = []
        resets = 0
        while not got or got[-1] != 119:
            event = stalled.next(10)
            resets += event.event == "reset"
            if event.event == "message":
                got.append(int(event.data.removeprefix('["x",').strip("[").split(",")[0]))

        assert resets >= 1
        assert got == sorted(set(got))
        assert len(got) < 120


@KINDS
def test_latest_keeps_the_newest_of_each_key(start: Start, kind: str):
    """With `latest`, a slow client gets the newest message of each key, and no `reset`."""
    app = start(kind, env={"OVERFLOW": "latest", "BUFFER": "1000000"})
    with stall(app, "/channel/x") as stalled:
        for number in range(120):
            app.request("POST", f"/price/x/k{number % 3}", [number, LARGE])
        got: list[int] = []
        while not got or got[-1] != 119:
            event = stalled.next(10)
            assert event.event != "reset"
            if event.event == "message":
                got.append(int(event.data[1:].split(",")[0]))

        assert got[-3:] == [117, 118, 119]
        assert got == sorted(set(got))
        assert len(got) < 120


@KINDS
@pytest.mark.timeout(120)
def test_many_fast_clients_beside_a_stalled_one(start: Start, kind: str):
    """Fast clients beside a stalled one get all messages in order."""
    app = start(kind, env={"BUFFER": "200000"}, args=["--worker-connections", "1000"])
    fast = [app.ready("/channel/x") for _ in range(200)]
    with stall(app, "/channel/x"), stall(app, "/channel/x"):
        thread = threading.Thread(
            target=lambda: [app.emit("x", [n, "y" * 5000]) for n in range(100)]
        )
        thread.start()
        for client in fast:
            assert [client.next_data(20)[0] for _ in range(100)] == list(range(100))
        thread.join()
    for client in fast:
        client.close()
