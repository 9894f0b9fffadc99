"""Promises to operators: one connection to Redis, and streams that do not harm each other."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import time
from collections.abc import Iterator

import httpx
import httpx_sse
import pytest
import sseclient

from tests.support.servers import RedisServer
from tests.support.sse_client import SSEClient

from .conftest import App, Start


@pytest.mark.timeout(120)
def test_one_pubsub_connection_for_each_worker(start: Start):
    """200 streams on 50 channels need one connection in each worker, and leave the cache free."""
    app = start(workers=2, args=["--worker-connections", "300"])
    clients = [app.ready(f"/channel/c{number % 50}") for number in range(200)]
    try:
        names = [client["name"] for client in app.redis.client_list(_type="pubsub")]
        workers = app.server.worker_pids()
        assert [names.count(f"redis-events:{pid}") for pid in workers] == [1, 1]
        answers = [app.request("GET", "/cache")[2]["answers"] for _ in range(20)]
        assert answers == sorted(answers)
        for number in range(50):
            app.emit(f"c{number}", number)
        got = [client.next_data() for client in clients]
        assert got == [number % 50 for number in range(200)]
    finally:
        for client in clients:
            client.close()


def test_the_connection_has_a_name(start: Start):
    """CLIENT LIST shows the name of the connection."""
    app = start()
    with app.ready("/channel/x"):
        pid = app.state()["pid"]
        names = [client["name"] for client in app.redis.client_list(_type="pubsub")]

        assert f"redis-events:{pid}" in names


HOSTILE = [
    b"",
    b"\n",
    b"\r",
    b"\0",
    b"\xff\xfe\xfd",
    b":",
    b":- -",
    b":- -\n",
    b":1-1\n",
    b":1-1 0-0\n",
    b":1-1 0-0\nid: 2-2\ndata: x\n\n",
    b"id: 9-9\ndata: x\n\n",
    b"event: end\nid: end\ndata: {}\n\n",
    b"retry: 999999999\n\n",
    b"{" * 10_000,
    b'"\\ud800"',
    b"\xed\xa0\x80",
    b"x" * 2**20,
]


def payloads(seed: int) -> Iterator[bytes]:
    yield from HOSTILE
    generator = random.Random(seed)
    for _ in range(200):
        yield generator.randbytes(generator.randrange(200))
        yield b":" + bytes(generator.choices(b"0123456789- \n:id", k=generator.randrange(40)))


def test_no_payload_ends_a_stream(start: Start):
    """No payload on a channel ends a stream of any kind."""
    app = start()
    with app.ready("/channel/x") as a, app.ready("/callback/x") as b, app.ready("/pull/x") as c:
        for payload in payloads(seed=7):
            app.publish("x", payload)
        app.emit("x", {"last": True})

        def last(text: str) -> bool:
            return '"last":true' in text

        for client in (a, b, c):
            client.until(lambda event: last(event.data), 10)
        assert app.state()["metrics"].get("lost", 0) == 0


def test_a_forged_envelope_moves_nobody_back(start: Start):
    """A forged envelope with an old id is data, and does not move a client's position."""
    app = start()
    forged = b":1-1 - -\nid: 1-1\ndata: old\n\n"
    with app.ready("/channel/x") as client:
        before = client.decoder.last_event_id
        app.publish("x", forged)
        event = client.next()
        app.emit("x", "new")

        assert (event.data, event.last_event_id) == (forged.decode(), before)
        assert client.next_data() == "new"


@pytest.mark.parametrize("kind", ["gevent", "gthread"])
def test_a_forbidden_channel_ends_its_own_streams_only(
    start: Start, own_redis_server: RedisServer, prefix: str, kind: str
):
    """A channel that the ACL forbids ends its own streams, and all others go on."""
    allowed = [f"&{prefix}$ticks", f"&{prefix}ok"]
    rights = ["on", ">secret", "allkeys", "+@all", "resetchannels", *allowed]
    own_redis_server.client().execute_command("ACL", "SETUSER", "ann", *rights)
    url = own_redis_server.url.replace("redis://", "redis://ann:secret@")
    app = start(kind, redis=own_redis_server, env={"URL": url})
    with app.ready("/channel/ok") as one, app.ready("/callback/ok") as two:
        for path in ("channel", "callback", "pull", "once"):
            with SSEClient(f"{app.url}/{path}/forbidden") as refused:
                assert refused.wait_closed()
                assert [event.event for event in refused.events] == ["reconnect"]
                assert refused.events[0].data == '{"reason":"forbidden"}'
        app.emit("ok", "still here")

        assert one.next_data() == "still here"
        assert two.next_data() == ["ok", "still here"]
        metrics = app.state()["metrics"]
        assert (metrics["connected"], metrics.get("lost", 0)) == (1, 0)
    assert f"does not let its user hear the channel 'forbidden' (ACL SETUSER … &{prefix}…)" in (
        app.server.log
    )


def test_curl(start: Start):
    """`curl -N` prints the stream."""
    app = start()
    curl = shutil.which("curl")
    assert curl, "curl is needed: apt-get install curl"
    command = [curl, "-sN", "--max-time", "20", f"{app.url}/callback/x"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        # A message emitted before `ready` is not promised, even if the SUBSCRIBE came before.
        output = ""
        while "event: ready" not in output:
            output += process.stdout.readline().decode()
            assert process.poll() is None, output
        app.emit("x", "hello")
        app.emit("x", "false")
        output += process.stdout.read().decode()

    assert process.returncode == 0
    assert 'data: ["x","hello"]\n\n' in output
    assert output.endswith(".end\nevent: end\ndata: {}\n\n")


def names_and_data(app: App, events: Iterator[tuple[str, str]]) -> list[tuple[str, str]]:
    """Emit once the stream is ready; return all events up to its end."""
    got = []
    for name, data in events:
        got.append((name, data))
        if name == "ready":
            app.emit("x", "hello")
            app.emit("x", "two")
            app.emit("x", "false")
        if name == "end":
            break
    return got[1:]


EXPECTED = [
    ("message", '["x","hello"]'),
    ("part", '"first of two"'),
    ("message", '"second of two"'),
    ("message", '"final"'),
    ("end", "{}"),
]


def test_httpx_sse(start: Start):
    """The Python client httpx-sse reads the same events, and no empty one."""
    app = start()
    with (
        httpx.Client(timeout=10) as client,
        httpx_sse.connect_sse(client, "GET", f"{app.url}/callback/x") as source,
    ):
        got = names_and_data(app, ((e.event, e.data) for e in source.iter_sse()))

    assert got == EXPECTED


def test_sseclient(start: Start):
    """The Python client sseclient reads the same events."""
    app = start()
    with httpx.stream("GET", f"{app.url}/callback/x", timeout=10) as response:
        client = sseclient.SSEClient(response.iter_raw())
        got = names_and_data(app, ((e.event, e.data) for e in client.events()))

    assert got == EXPECTED


def test_a_busy_channel_that_is_skipped_has_heartbeats(start: Start):
    """A stream whose callback skips all messages sends heartbeats."""
    app = start(env={"HEARTBEAT": "0.5"})
    with app.ready("/callback/x") as client:
        for _ in range(3):
            started = time.monotonic()
            while len([e for e in client.events if e.event == "heartbeat"]) < 1:
                app.emit("x", "skip")
                with contextlib.suppress(TimeoutError):
                    client.next(0.05)
                assert time.monotonic() - started < 5
            client.events.clear()
            client._returned = 0


@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_a_worker_that_one_stream_fills_says_so(start: Start, kind: str):
    """A worker that one stream fills warns in its log and names the gevent worker."""
    app = start(kind)
    with app.ready("/channel/x"):
        warned = "use gunicorn --worker-class gevent" in app.server.log

    assert warned is (kind == "sync")
