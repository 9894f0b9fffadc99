"""Coming from Proto: each block of its document has a counterpart here, and a test below."""

from __future__ import annotations

import json
import re
import runpy
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_redis_events import Emitter
from flask_redis_events.testing import read_events
from tests.browser.conftest import Browse, browse
from tests.docs.blocks import DOCS
from tests.support.browsers import texts
from tests.support.servers import Gunicorn, RedisServer
from tests.support.waiting import wait_until

__all__ = ["browse"]

PAGE = DOCS / "coming-from" / "proto.rst"
APP = DOCS / "coming-from" / "proto" / "app.py"

#: The sections of Proto's document "Redis SSE Examples", each with the number of its code blocks.
SECTIONS = {
    "Overview": 0,
    "Why a Separate Redis Connection?": 0,
    "Basic Usage": 0,
    "Simple Message Streaming": 1,
    "With Message Processing": 1,
    "Multiple Channels": 1,
    "Complete Examples": 0,
    "User Notifications": 1,
    "Live Chat": 1,
    "Job Progress Tracking": 1,
    "Live Dashboard Metrics": 1,
    "Advanced Patterns": 0,
    "Conditional Streaming": 1,
    "Rate Limiting": 1,
    "Message Aggregation": 1,
    "Timeout/Heartbeat": 1,
    "Client-Side JavaScript": 0,
    "Basic Connection": 1,
    "Multiple Event Types": 1,
    "With Heartbeat Handling": 1,
    "Comparison: serverEvent() vs redisEvent()": 0,
    "serverEvent() - Periodic Updates": 1,
    "redisEvent() - Event-Driven Updates": 1,
    "When to Use Each": 0,
    "Best Practices": 0,
    "Troubleshooting": 0,
    "Messages not received": 0,
    "High memory usage": 0,
    "Connection drops": 0,
    "Architecture Notes": 1,
}

_CELL = r"     - ?(.*(?:\n       .*)*)\n"
_ROW = re.compile(rf"^   \* - (.+)\n     - (\d)\n{_CELL}{_CELL}", re.MULTILINE)


class Views:
    """The application of the page, and a client of it who is user 7."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = names
        self.app: Flask = names["app"]
        self.client = self.app.test_client()
        with self.client.session_transaction() as session:
            session["user_id"] = 7

    def read(self, path: str, *emitted: tuple[str, Any], count: int = 1) -> list[Any]:
        """Open a stream, emit, and return (event name, value) of the events that come."""
        response = self.client.get(path, buffered=False)
        assert response.status_code == 200
        for channel, data in emitted:
            self.names["events"].emit(channel, data)
        return [(e.event, json.loads(e.data)) for e in read_events(response, count)]


@pytest.fixture
def views(
    redis_server: RedisServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Views]:
    monkeypatch.setenv("FLASK_REDIS_EVENTS_URL", redis_server.url)
    monkeypatch.setenv("FLASK_REDIS_EVENTS_PREFIX", json.dumps(prefix))
    monkeypatch.setenv("FLASK_SECRET_KEY", "for tests")
    views = Views(runpy.run_path(str(APP), run_name="proto"))
    with views.app.app_context():
        yield views
        views.names["events"].hub.close()


def test_simple_message_streaming(views: Views):
    """A user gets what is emitted to the user, and nobody else does."""
    note = {"type": "message", "title": "New Message"}
    assert views.read("/stream/users/7", ("user:7:notifications", note)) == [("message", note)]
    assert views.client.get("/stream/users/8").status_code == 403


def test_with_message_processing(views: Views):
    """The callback's result is sent, under a name of its own."""
    [(name, data)] = views.read("/stream/orders", ("orders", {"id": 1}))

    assert (name, data["data"]) == ("order", {"id": 1})


def test_multiple_channels(views: Views):
    """One stream has three channels, in the order of emitting, under three names."""
    emitted = [("payments", 1), ("orders", 2), ("shipments", 3)]

    assert views.read("/stream/dashboard", *emitted, count=3) == [
        ("payment", 1),
        ("order", 2),
        ("shipment", 3),
    ]


def test_user_notifications(views: Views):
    """The view refuses strangers with 401; a POST reaches the stream, with the server's time."""
    assert views.app.test_client().get("/stream/notifications").status_code == 401
    response = views.client.get("/stream/notifications", buffered=False)
    assert views.client.post("/users/7/notifications", json={"title": "Hi"}).json == {"sent": True}
    [event] = read_events(response, 1)
    assert json.loads(event.data).keys() == {"title", "server_time"}


def test_live_chat(views: Views):
    """A message reaches its room, also somebody who enters later, and no other room."""
    views.client.post("/rooms/lobby", json={"username": "ada", "text": "hello"})
    views.client.post("/rooms/other", json={"username": "eve", "text": "elsewhere"})
    [(_, first)] = views.read("/stream/rooms/lobby")

    assert (first["room"], first["username"], first["text"]) == ("lobby", "ada", "hello")


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_job_progress_tracking(views: Views, status: str):
    """The last message is sent, the stream ends for good, and is not opened again."""
    channel = "job:7:progress"
    response = views.client.get("/stream/jobs/7", buffered=False)
    for data in ({"status": "running", "percent": 40}, {"status": status, "percent": 90}):
        views.names["events"].emit(channel, data)
    received = read_events(response, 10, control=True)
    again = views.client.get(
        "/stream/jobs/7", headers={"Last-Event-ID": received[-1].last_event_id}
    )

    assert [event.event for event in received] == ["ready", "message", "message", "end"]
    assert json.loads(received[2].data) == {"status": status, "percent": 100, "message": "Done"}
    assert again.status_code == 204


def test_live_dashboard_metrics(views: Views):
    """All metrics of one call arrive, each with the name of its channel."""
    response = views.client.get("/stream/metrics", buffered=False)
    views.names["publish_metrics"]({"users": 1, "orders": 2})
    metrics = [json.loads(event.data) for event in read_events(response, 2)]

    assert [(m["metric"], m["value"]) for m in metrics] == [("users", 1), ("orders", 2)]


def test_conditional_streaming(views: Views):
    """Messages with a low priority are not sent."""
    emitted = [("events", {"priority": n}) for n in (1, 9, 4, 5)]
    received = views.read("/stream/urgent", *emitted, count=2)

    assert [data["priority"] for _, data in received] == [9, 5]


def test_rate_limiting(views: Views):
    """Of messages within a second the first one is sent."""

    def emit_later() -> None:
        views.names["events"].emit("updates", 4)

    later = threading.Timer(1.1, emit_later)
    later.start()
    emitted = [("updates", value) for value in (1, 2, 3)]

    assert views.read("/stream/slowly", *emitted, count=2) == [("message", 1), ("message", 4)]
    later.join()


def test_message_aggregation(views: Views):
    """Ten messages of three channels are one event."""
    emitted = [(f"channel{n % 3 + 1}", n) for n in range(10)]
    [(_, data)] = views.read("/stream/batches", *emitted)

    assert data["count"] == 10
    assert [(m["channel"], m["data"]) for m in data["batch"]] == emitted


def test_timeout_and_heartbeat(views: Views):
    """The heartbeat is the extension's: `ready` tells how often it comes."""
    response = views.client.get("/stream/timed", buffered=False)
    [ready] = read_events(response, 1, control=True)

    assert json.loads(ready.data)["heartbeat"] == 30


def test_periodic_updates(views: Views):
    """A poll sends its function's result at once, and again."""
    assert [data.keys() for _, data in views.read("/stream/load", count=2)] == [{"load"}] * 2


@pytest.mark.parametrize("value", [0, "", [], {}, None, True, "a\nb", {"event": "x", "data": 1}])
def test_event_driven_updates(views: Views, value: Any):
    """Each value arrives as it was emitted."""
    assert views.read("/stream/updates", ("updates", value)) == [("message", value)]


@pytest.mark.timeout(180)
def test_the_client_side(redis_server: RedisServer, prefix: str, browse: Browse):
    """Notifications, named events and heartbeats reach the page, without a reload."""
    env = {"URL": redis_server.url, "PREFIX": json.dumps(prefix)}
    env = {f"FLASK_REDIS_EVENTS_{name}": value for name, value in env.items()}
    arguments = ["--chdir", str(APP.parent)]
    with Gunicorn("app:app", env={**env, "FLASK_SECRET_KEY": "x"}, args=arguments) as server:
        page = browse()
        page.get(server.url)

        def shown() -> list[str]:
            return texts(page, "li")

        wait_until(lambda: "ready" in shown(), 20)
        wait_until(lambda: texts(page, "output") == ["live"], 20)
        with closing(Emitter(redis_server.url, prefix=prefix)) as emitter:
            emitter.emit("user:123:notifications", {"title": "hello"})
            emitter.emit("orders", {"item": "book"})
            emitter.emit("payments", {"amount": 7})
        expected = {"hello", "order: book", "payment: 7", "heartbeat"}
        wait_until(lambda: expected <= set(shown()), 60, lambda: str(shown()))


def test_the_table_has_every_section():
    """Each section has a row, and each code block a test, which exists."""
    found = _ROW.findall(PAGE.read_text("utf-8"))
    rows = {title: (blocks, tests) for title, blocks, _, tests in found}

    assert {title: int(blocks) for title, (blocks, _) in rows.items()} == SECTIONS
    here = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    for title, (blocks, tests) in rows.items():
        named = re.findall(r"`(\w+)`", tests)
        assert bool(named) == bool(int(blocks)), title
        assert [name for name in named if f"def {name}(" not in here] == [], title
