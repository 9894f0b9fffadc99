"""What applications test with: `hear` and `read_events`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from flask import Flask

from flask_redis_events import Emitter, RedisEvents, ServerSentEvent
from flask_redis_events.testing import hear, read_events


@pytest.fixture(params=["redis", "redis, no history", "memory", "memory, no history"])
def app(request, prefix, redis_server) -> Flask:
    app = Flask(__name__)
    url = redis_server.url if "redis" in request.param else f"memory://{prefix}"
    app.config.update(REDIS_EVENTS_URL=url, REDIS_EVENTS_PREFIX=prefix)
    app.config["REDIS_EVENTS_HISTORY"] = 0 if "no history" in request.param else 100
    return app


@pytest.fixture
def events(app) -> Iterator[RedisEvents]:
    events = RedisEvents(app)
    yield events
    events.hub.close()


def test_all_that_was_emitted_is_heard(app, events):
    """`all` returns what was emitted by then, with names, in order, as often as it is asked."""
    with hear(app, "orders", "jobs:*") as heard:
        events.emit("orders", {"item": "book"}, event="order")
        events.emit("elsewhere", 1)
        events.emit_many([("jobs:7", ServerSentEvent("done", event="state")), ("orders", 2)])
        first = heard.all()
        events.emit("orders", 3, persist=False)

        assert first == [
            ("orders", "order", {"item": "book"}),
            ("jobs:7", "state", "done"),
            ("orders", None, 2),
        ]
        assert heard.all() == [*first, ("orders", None, 3)]
        assert heard.wait(1) == [("orders", {"item": "book"})]


def test_what_is_waited_for_is_not_lost(app, events):
    """`wait` and `all` see the same messages, whichever comes first."""
    with hear(app, "orders") as heard:
        events.emit("orders", 1)

        assert heard.wait() == [("orders", 1)]
        assert heard.all() == [("orders", None, 1)]


def test_nothing_was_emitted(app, events, caplog):
    """[] is proved at once, and not by waiting; nothing is logged of the proof."""
    with hear(app, "orders") as heard:
        events.emit("elsewhere", 1)
        started = time.monotonic()

        assert heard.all() == []
        assert time.monotonic() - started < 2
        assert caplog.messages == []


def test_other_processes_are_heard(prefix, redis_server):
    """What another process emitted before the call is among it."""
    app = Flask(__name__)
    app.config.update(REDIS_EVENTS_URL=redis_server.url, REDIS_EVENTS_PREFIX=prefix)
    events, other = RedisEvents(app), Emitter(redis_server.url, prefix=prefix)
    with hear(app, "orders") as heard:
        for number in range(50):
            other.emit("orders", number)

        assert [one.value for one in heard.all()] == list(range(50))
    other.close()
    events.hub.close()


def test_listening_is_not_heard_by_the_page(app, events):
    """The message by which `all` knows that it has all reaches no stream."""
    app.add_url_rule("/s", "s", events.stream("*")(lambda: None))
    stream = app.test_client().get("/s", buffered=False)
    with hear(app, "orders") as heard:
        heard.all()
        events.emit("orders", 1)

        assert [event.data for event in read_events(stream, 1)] == ["1"]


def test_too_few_events_are_an_error(app, events):
    """`read_events` tells what came, and ends the stream."""
    app.add_url_rule("/s", "s", events.stream("a")(lambda: None))
    stream = app.test_client().get("/s", buffered=False)
    events.emit("a", 1)
    with pytest.raises(TimeoutError, match=r"1 of 2 events came within 0.2 s: \[Event\(.*data='1'"):
        read_events(stream, 2, timeout=0.2)

    assert events.hub.streams == 0


def test_a_stream_may_be_waited_for_without_a_limit(app, events):
    """With `timeout=None`, an event may come at any time."""
    app.add_url_rule("/s", "s", events.stream("a")(lambda: None))
    stream = app.test_client().get("/s", buffered=False)
    later = threading.Timer(0.2, events.emit, ("a", 1))
    later.start()

    assert [event.data for event in read_events(stream, 1, timeout=None)] == ["1"]
    later.join()
