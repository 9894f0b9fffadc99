"""A worker that ends asks its clients to reconnect, at once but not all in the same moment."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.support.sse_client import EventSource, SSEClient
from tests.support.waiting import wait_until

from .conftest import App, Start

PATHS = ["/channel/x", "/callback/x", "/pull/x", "/poll", "/shared", "/quiet"]


def assert_sent_elsewhere(clients: list[SSEClient], started: float) -> None:
    """Assert that each stream ended cleanly within a second, with a `retry` of its own."""
    retries = set()
    for client in clients:
        assert client.wait_closed(3)
        last = client.events[-1]
        assert (last.event, last.data) == ("reconnect", '{"reason":"draining"}')
        assert 0 < (client.decoder.retry or 0) <= 3000
        retries.add(client.decoder.retry)
    assert time.monotonic() - started < 1.5
    assert len(retries) > 1


def open_all(app: App) -> list[SSEClient]:
    return [app.ready(path) for path in PATHS if path != "/poll"]


@pytest.mark.parametrize("kind", ["gevent", "generator", "preload", "gevent_pywsgi", "gthread"])
def test_sigterm(start: Start, kind: str):
    """On SIGTERM the streams end within a second, so gunicorn need not wait for them."""
    app = start(kind)
    clients = open_all(app)
    started = time.monotonic()
    os.kill(app.server.pid, signal.SIGTERM)
    assert_sent_elsewhere(clients, started)

    app.server.terminate()
    assert time.monotonic() - started < 4.5
    for client in clients:
        client.close()


def test_hup(start: Start):
    """After a reload, the clients reconnect to new workers and get the messages they missed."""
    app = start(workers=2)
    old = set(app.server.worker_pids())
    with EventSource(app.url + "/channel/x") as source:
        source.wait_for(lambda events: any(e.event == "ready" for e in events))
        app.emit("x", 0)
        app.server.reload()
        for number in range(1, 30):
            app.emit("x", number)
        source.wait_for(lambda events: sum(e.event == "message" for e in events) == 30, 15)

        assert source.data == list(range(30))
    wait_until(lambda: not old & set(app.server.worker_pids()), 20)


def test_max_requests(start: Start):
    """A worker that gunicorn restarts by max_requests, without a signal, drains, too."""
    app = start(args=["--max-requests", "12"])
    (worker,) = app.server.worker_pids()
    clients = open_all(app)
    started = time.monotonic()
    while app.server.worker_pids() == [worker] and time.monotonic() < started + 10:
        try:
            app.request("GET", "/")
        except OSError:
            break
    assert_sent_elsewhere(clients, time.monotonic())

    wait_until(lambda: worker not in app.server.worker_pids(), 5)
    for client in clients:
        client.close()


def test_reload_of_the_code(start: Start, tmp_path: Path):
    """With `gunicorn --reload` a page reconnects at once, and not after the 30 s of a timeout."""
    touched = tmp_path / "touched.txt"
    touched.write_text("1")
    app = start(args=["--reload", "--reload-engine", "poll", "--reload-extra-file", str(touched)])
    (worker,) = app.server.worker_pids()
    clients = open_all(app)
    touched.write_text("2")
    os.utime(touched, (time.time() + 5, time.time() + 5))
    for client in clients:
        assert client.wait_closed(5)
        assert client.events[-1].event == "reconnect"

    wait_until(lambda: worker not in app.server.worker_pids(), 5)
    for client in clients:
        client.close()


def test_a_full_worker_turns_away(start: Start):
    """A full worker asks an EventSource to reconnect; other clients get a 503 with Retry-After."""
    app = start(env={"MAX_STREAMS": "2"})
    with app.ready("/channel/x"), app.ready("/channel/x"):
        with app.stream("/channel/x") as third:
            assert third.status == 200
            assert third.wait_closed()
            assert [event.event for event in third.events] == ["reconnect"]
            assert 0 < (third.decoder.retry or 0) <= 3000
        status, headers, _ = app.request("GET", "/channel/x", Accept="application/json")
        assert (status, int(headers["Retry-After"]) >= 1) == (503, True)
        assert "no-store" in headers["Cache-Control"]
        assert app.state()["metrics"]["refused.full"] == 2
    wait_until(lambda: app.state()["streams"] == 0)
    with app.ready("/channel/x"):
        pass


@pytest.mark.parametrize("kind, path", [("gevent", "/callback/x"), ("gevent", "/channel/x")])
def test_nor_in_a_burst_on_a_fresh_worker(start: Start, kind: str, path: str):
    """A burst of requests does not exceed the limit, because opening streams are counted again."""
    app = start(kind, args=["--worker-connections", "20"])
    with contextlib.ExitStack() as opened:
        clients = [opened.enter_context(Waiting(app.server.port, path)) for _ in range(60)]
        wait_until(lambda: not [client for client in clients if not client.answered()], 20)

        assert sum(b"event: ready" in client.received for client in clients) == 16
        assert app.request("GET", "/")[0] == 200
        metrics = app.state()["metrics"]
        assert (metrics["opened"], metrics["refused.full"]) == (16, 44)
        assert "closed.full" not in metrics


class Waiting:
    """A request that was sent, and whose answer is read without waiting."""

    def __init__(self, port: int, path: str) -> None:
        self.received = b""
        self._socket = socket.create_connection(("127.0.0.1", port))
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"
        self._socket.sendall(head.encode())
        self._socket.setblocking(False)

    def answered(self) -> bool:
        with contextlib.suppress(OSError):  # nothing more has arrived, or the connection has ended
            while data := self._socket.recv(65536):
                self.received += data
            self._socket.shutdown(socket.SHUT_WR)
        return b"event: re" in self.received  # ready, reconnect

    def __enter__(self) -> Waiting:
        return self

    def __exit__(self, *what: object) -> None:
        self._socket.close()


@pytest.mark.parametrize("kind", ["gevent", "generator", "gthread"])
@pytest.mark.parametrize("path", ["/channel/x", "/callback/x", "/iterate/x"])
def test_a_client_that_reads_nothing_keeps_no_worker(start: Start, kind: str, path: str):
    """A worker that ends does not wait for a client that reads nothing."""
    app = start(kind, env={"BUFFER": "1000000000"})
    with app.ready(path, receive_buffer=4096):
        for _ in range(60):
            app.emit("x", "x" * 100_000)
        started = time.monotonic()
        app.server.terminate()

        assert time.monotonic() - started < 5


def test_a_worker_keeps_room_for_other_requests(start: Start):
    """Without MAX_STREAMS, streams take 80 % of gunicorn's worker_connections."""
    app = start(args=["--worker-connections", "10"])
    clients = [app.stream("/channel/x") for _ in range(9)]

    assert [client.next().event for client in clients] == ["ready"] * 8 + ["reconnect"]
    assert app.request("GET", "/")[0] == 200
    for client in clients:
        client.close()
