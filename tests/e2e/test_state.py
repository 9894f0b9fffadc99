"""Streams that begin with the state: nothing is missing, and nothing comes twice."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from flask_redis_events import Emitter, Position
from flask_redis_events.wire.sse import Event
from tests.support.servers import RedisServer
from tests.support.sse_client import EventSource, SSEClient
from tests.support.waiting import wait_until

from .conftest import Start

APP = "tests.support.apps.prices:create_app()"
KEYS = [f"key {number}" for number in range(12)]
PATHS = ["/plain", "/by/callback", "/by/shared", "/by/generator", "/plain?channel=pri*"]


class Storm(threading.Thread):
    """Emits values of all keys, and events without a key in between, and logs them."""

    def __init__(self, emitter: Emitter) -> None:
        super().__init__()
        self.emitter = emitter
        self.over = threading.Event()
        #: Of each event in the order of their ids: the id, its key, and its data.
        self.log: list[tuple[Position, str | None, Any]] = []
        for key in KEYS:
            self.emit(key)

    def emit(self, *keys: str | None) -> None:
        """Emit one event for each key in one call."""
        some: list[Any] = []
        for number, key in enumerate(keys, len(self.log)):
            options = {"key": key, "keep": "latest"} if key else {}
            some.append(("prices", [key, number], options))
        for id, (_, data, _) in zip(self.emitter.emit_many(some), some, strict=True):
            position = Position.parse(id or "")
            assert position is not None
            self.log.append((position, data[0], data))

    def run(self) -> None:
        chance = random.Random(7)
        while not self.over.is_set():
            self.emit(*chance.choices([*KEYS, None], k=chance.choice([1, 1, 1, 20])))
            time.sleep(0.001)

    def expected(self, first: Any) -> list[Any]:
        """Return all that a client gets whose first live event has this data."""
        start = next(n for n, (_, _, data) in enumerate(self.log) if data == first)
        newest = {key: data for _, key, data in self.log[:start] if key}
        values = sorted(newest.values(), key=lambda data: data[1])
        return values + [data for _, _, data in self.log[start:]]


@contextmanager
def storm(redis: RedisServer, prefix: str) -> Iterator[Storm]:
    """Emit while the block runs; what was emitted is in the log, a last event without a key too."""
    # Larger than all that the storm emits.
    emitter = Emitter(redis.url, prefix=prefix, history=100_000)
    thread = Storm(emitter)
    thread.start()
    try:
        yield thread
    finally:
        thread.over.set()
        thread.join(30)
        thread.emit(None)
        emitter.close()


def data_of(client: SSEClient | EventSource) -> list[Any]:
    return [json.loads(event.data) for event in list(client.events) if event.event == "message"]


def is_beyond_the_state(events: list[Event]) -> bool:
    return sum(event.event == "message" for event in events) > len(KEYS)


def read_to(client: SSEClient, last: Any) -> list[Any]:
    client.until(lambda e: e.event == "message" and json.loads(e.data) == last, 30)
    return data_of(client)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["gevent", "generator", "gthread", "preload"])
def test_clients_that_connect_in_a_storm(
    start: Start, redis_server: RedisServer, prefix: str, kind: str
):
    """Each key's newest value at one moment, and all that came after that, exactly once."""
    workers = {} if kind == "gthread" else {"workers": 2}
    app = start(kind, app=APP, env={"HISTORY": "100000"}, **workers)
    with ExitStack() as opened:
        clients = []
        with storm(redis_server, prefix) as storming:
            for number in range(20):
                path = PATHS[number % len(PATHS)]
                clients.append(opened.enter_context(app.stream(path)))
                time.sleep(0.01)
        last = storming.log[-1][2]
        for client in clients:
            got = read_to(client, last)
            assert got == storming.expected(got[len(KEYS)])
    assert len(storming.log) > 200


@pytest.mark.timeout(120)
def test_workers_that_are_killed(start: Start, redis_server: RedisServer, prefix: str):
    """A client that loses its worker goes on from history, and a new one gets the state."""
    app = start(app=APP, env={"HISTORY": "100000"}, workers=2)
    with ExitStack() as opened:
        with storm(redis_server, prefix) as storming:
            clients = [
                opened.enter_context(EventSource(app.url + PATHS[number % len(PATHS)]))
                for number in range(20)
            ]
            for client in clients:
                client.wait_for(is_beyond_the_state, 20)
            for _ in range(4):
                app.server.kill_worker(app.server.worker_pids()[0])
                clients.append(opened.enter_context(EventSource(app.url + "/plain")))
                time.sleep(1)
                # Of what comes after the state, the last event is one; it has no key.
                for client in clients:
                    client.wait_for(is_beyond_the_state, 20)
        last = storming.log[-1][2]
        for client in clients:
            wait_until(lambda client=client: last in data_of(client)[-3:], 30)  # type: ignore[misc]
            got = data_of(client)
            assert got == storming.expected(got[len(KEYS)])
            assert not [event for event in client.events if event.event == "reset"]
    assert sum(client.connections > 1 for client in clients) >= 10


@pytest.mark.timeout(120)
@pytest.mark.parametrize("path", PATHS)
def test_a_loss_makes_a_stream_begin_anew(
    start: Start, own_redis_server: RedisServer, prefix: str, path: str
):
    """`reset`, then `reconnect`: the client comes back without its position, for the new state."""
    app = start(app=APP, redis=own_redis_server)
    emitter = Emitter(own_redis_server.url, prefix=prefix)
    emitter.emit("prices", ["EUR", 1], key="EUR", keep="latest")
    with EventSource(app.url + path) as client:
        wait_until(lambda: data_of(client) == [["EUR", 1]])
        # Of a channel of which the worker has received nothing, nothing can be missing.
        emitter.emit("prices", ["EUR", 2], key="EUR", keep="latest")
        wait_until(lambda: data_of(client)[1:] == [["EUR", 2]])
        own_redis_server.client().flushall()
        emitter.emit("prices", ["USD", 2], key="USD", keep="latest")

        def after_reconnect() -> list[str]:
            names = [event.event for event in client.events]
            return names[names.index("reconnect") :] if "reconnect" in names else []

        wait_until(lambda: after_reconnect()[:3] == ["reconnect", "ready", "message"], 20)
        names = [event.event for event in client.events]

        assert data_of(client)[-1] == ["USD", 2]
        assert names.index("reset") < names.index("reconnect")
        assert json.loads(client.events[names.index("reconnect")].data) == {"reason": "reset"}
    emitter.close()


@pytest.mark.timeout(120)
def test_a_state_that_was_evicted_is_not_known(
    start: Start, own_redis_server: RedisServer, prefix: str
):
    """A first connect gets what there is; the keys that are emitted again are there again."""
    app = start(app=APP, redis=own_redis_server)
    emitter = Emitter(own_redis_server.url, prefix=prefix)
    for key in ("EUR", "USD"):
        emitter.emit("prices", [key, 1], key=key, keep="latest")
    own_redis_server.client().delete(f"{prefix}state:prices", f"{prefix}states")
    emitter.emit("prices", ["USD", 2], key="USD", keep="latest")

    for path in PATHS:
        with app.ready(path) as client:
            assert client.next_data() == ["USD", 2]
    emitter.close()
