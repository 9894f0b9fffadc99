"""The load generator: its counts are exact, however the bytes are cut."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from flask_redis_events.bench import Target
from flask_redis_events.bench.blocks import Blocks
from flask_redis_events.bench.figures import Spread
from flask_redis_events.bench.limits import source
from tests.support.processes import ROOT, free_port
from tests.support.servers import Gunicorn, RedisServer
from tests.support.waiting import wait_until

CLIENTS, MESSAGES = 20, 50

READY = b'retry: 200\nid: 5-0\nevent: ready\ndata: {"id":"5-0"}\n\n'
MESSAGE = b'id: 7-0\ndata: {"a":"data: id: event: "}\n\n'
NAMED = b"id: 8-0\nevent: order\ndata: 1\ndata: 2\n\n"
HEARTBEAT = b'event: heartbeat\nid: 9-0\ndata: {"id":"9-0"}\n\n'
SILENT = b": ping\n\nid: 10-0\n\nretry: 300\n\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def crlf(data: bytes) -> bytes:
    return data.replace(b"\n", b"\r\n")


STREAM = [READY, MESSAGE, MESSAGE + MESSAGE, SILENT, b":\n", NAMED, HEARTBEAT, MESSAGE + HEARTBEAT]
BODIES = {
    "chunked": b"".join(map(chunk, STREAM)) + b"0\r\n\r\n",
    "chunked, CRLF": b"".join(chunk(crlf(part)) for part in STREAM) + b"0\r\n\r\n",
    "until closed": b"".join(STREAM),
    "until closed, CRLF": crlf(b"".join(STREAM)),
}


# -- counting --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 10_000])
def test_blocks_are_counted_however_they_are_cut(name: str, size: int):
    """Blocks with data are messages; control frames are counted apart, and comments not at all."""
    body, blocks = BODIES[name], Blocks(chunked=name.startswith("chunked"))

    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    counted = sum([blocks.take(piece) for piece in pieces])

    assert (counted, blocks.controls) == (5, 3)
    assert blocks.over is blocks.chunked
    assert blocks.last_id == "9-0"
    assert blocks.retry == 0.3


@pytest.mark.parametrize("name", BODIES)
def test_blocks_are_counted_wherever_they_are_cut_once(name: str):
    """A cut at any place neither loses nor doubles a block."""
    body = BODIES[name]

    for cut in range(len(body)):
        blocks = Blocks(chunked=name.startswith("chunked"))

        assert blocks.take(body[:cut]) + blocks.take(body[cut:]) == 5, body[cut - 9 : cut + 9]


def test_an_unfinished_block_moves_nothing():
    """The id of an unfinished block is not used to resume, as in a browser."""
    blocks = Blocks(chunked=True)

    blocks.take(chunk(MESSAGE) + b"20\r\nid: 99-0\ndata: cut o")

    assert blocks.last_id == "7-0"


def test_spread_tells_the_nearest_rank():
    """A percentile is one of the values."""
    spread = Spread.of(range(1, 101))

    assert spread == Spread(100, 51, 100, 100)
    assert Spread.of([]) is None


# -- asking ----------------------------------------------------------------------------------------


def test_target_asks_as_a_browser_does():
    """The request has the headers of a browser's EventSource."""
    target = Target.of("http://127.0.0.1:81/a?b=c", ["Cookie: d=e"])

    asked = target.ask("7-0").decode().split("\r\n")

    assert asked[:2] == ["GET /a?b=c HTTP/1.1", "Host: 127.0.0.1:81"]
    assert {"Accept: text/event-stream", "Cookie: d=e", "Last-Event-ID: 7-0"} < set(asked)
    assert asked[-2:] == ["", ""]
    assert target.address == ("127.0.0.1", 81)


@pytest.mark.parametrize("url", ["https://localhost/", "localhost:5000/x", "http://"])
def test_target_refuses_what_it_cannot_ask(url: str):
    """TLS and relative URLs are refused, and the error says what to write."""
    with pytest.raises(ValueError, match="must begin with http://"):
        Target.of(url)


def test_many_clients_of_loopback_have_several_addresses():
    """On loopback, clients beyond the ports of one source address use another address."""
    assert source(9, "127.0.0.1", 10) is None
    assert source(10, "127.0.0.1", 10) == "127.0.0.2"
    assert source(25, "127.0.0.1", 10) == "127.0.0.3"
    assert source(10, "192.0.2.1", 10) is None


# -- the command -----------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def command(*arguments: str) -> subprocess.Popen[str]:
    """Start `bench` in another process, because gevent hides epoll in one that it has patched."""
    return subprocess.Popen(
        [sys.executable, "-m", "flask_redis_events", "bench", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any]]:
    with process:
        out, error = process.communicate(timeout=50)
    assert error == ""
    return process.returncode, json.loads(out)


@contextmanager
def answering(*answers: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Answer connections one after another; yield the URL and the requests."""
    requests: list[bytes] = []

    def serve() -> None:
        for answer in answers:
            connection, _ = listener.accept()
            with connection:
                requests.append(connection.recv(65536))
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, daemon=True)
        server.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/stream", requests
        server.join(5)


@pytest.fixture
def app(redis_server: RedisServer, prefix: str) -> Iterator[Gunicorn]:
    env = {
        "TEST_REDIS_EVENTS_URL": redis_server.url,
        "TEST_REDIS_EVENTS_PREFIX": prefix,
        # Heartbeats arrive during the test, and must not be counted.
        "TEST_REDIS_EVENTS_HEARTBEAT": "0.3",
    }
    with Gunicorn("tests.support.apps.streams:create_app()", workers=1, env=env) as server:
        yield server


def ready(app: Gunicorn) -> int:
    """Return how many clients are live and handed off, so that they miss no further message."""
    with urllib.request.urlopen(f"{app.url}/state") as response:
        return int(json.load(response)["metrics"].get("handed_off", 0))


def emit(app: Gunicorn, data: object) -> None:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{app.url}/emit/bench", json.dumps(data).encode(), headers)
    urllib.request.urlopen(request).close()


def test_every_message_is_counted_once_for_each_client(app: Gunicorn):
    """Each message counts once for each client, and control frames are no messages."""
    bench = command(
        *(f"{app.url}/channel/bench", "--clients", str(CLIENTS), "--seconds", "40"),
        *("--no-reconnect", "--json"),
    )
    wait_until(lambda: ready(app) == CLIENTS, 20)
    for number in range(MESSAGES):
        emit(app, {"t": 1.0, "number": number})
    app.terminate()
    status, figures = result(bench)

    assert status == 0
    assert figures["messages"] == CLIENTS * MESSAGES
    assert figures["opened"] == CLIENTS
    assert figures["open_at_end"] == 0
    assert figures["errors"] == {}
    assert figures["latency"]["count"] == CLIENTS * MESSAGES
    assert figures["control_frames"] >= CLIENTS


def test_clients_come_back_as_browsers_do():
    """Clients reconnect after the server's `retry`, with their last id, until a 204."""
    first = HEAD + chunk(b"retry: 1\nid: 1-0\ndata: 1\n\n") + b"0\r\n\r\n"
    cut = HEAD + chunk(b"id: 2-0\ndata: 2\n\n") + b"20\r\nid: 3-0\ndata: cut"
    last = b"HTTP/1.1 204 No Content\r\n\r\n"

    with answering(first, cut, last) as (url, requests):
        status, figures = result(command(url, "-c", "1", "--seconds", "30", "--json"))

    ids = [line for request in requests for line in request.split(b"\r\n") if b"Last-" in line]
    assert ids == [b"Last-Event-ID: 1-0", b"Last-Event-ID: 2-0"]
    assert (figures["messages"], figures["reconnections"]) == (2, 1)
    assert (status, figures["errors"]) == (1, {"cut off": 1})


@pytest.mark.parametrize(
    "answer, error",
    [
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "status 503"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "no HTTP"),
        (b"", "no answer"),
    ],
    ids=["status", "protocol", "nothing"],
)
def test_a_failed_stream_is_an_error(answer: bytes, error: str):
    """A failed stream is counted under a name, and the command's exit status is 1."""
    with answering(answer) as (url, _):
        status, figures = result(
            command(url, "-c", "1", "--seconds", "1", "--no-reconnect", "--json")
        )

    assert (status, figures["errors"], figures["opened"]) == (1, {error: 1}, 0)


def test_nobody_there_is_an_error():
    """A refused connection is counted, and the command does not hang."""
    url = f"http://127.0.0.1:{free_port()}/"

    status, figures = result(command(url, "-c", "3", "--no-reconnect", "--json"))

    assert (status, figures["errors"]) == (1, {"connection refused": 3})


def test_what_comes_with_the_head_is_timed_too():
    """A message that arrives together with the head is timed, too."""
    with answering(HEAD + chunk(b'data: {"t": 1.0}\n\n') + b"0\r\n\r\n") as (url, _):
        _, figures = result(command(url, "-c", "1", "--no-reconnect", "--seconds", "5", "--json"))

    assert (figures["messages"], figures["latency"]["count"]) == (1, 1)


def test_the_table_is_for_people():
    """Without --json each figure has a line, and nothing is written to standard error."""
    with answering(HEAD + chunk(MESSAGE) + b"0\r\n\r\n") as (url, _):
        bench = command(url, "-c", "1", "--seconds", "5", "--no-reconnect")
        out, error = bench.communicate(timeout=50)

    assert error == ""
    assert out.startswith("streams         1 of 1 opened, 0 at end\n")
    assert "\nerrors          none\n" in out


def test_a_wrong_url_is_told():
    """A wrong URL is reported in one line."""
    bench = command("https://localhost/")
    out, error = bench.communicate(timeout=50)

    assert (bench.returncode, out) == (2, "")
    assert error.startswith("bench: The URL must begin with http://")
