"""HTML from every place that data comes from: `emit`, callbacks, generators, polls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from markupsafe import Markup

from flask_redis_events import Emitter, FieldError, RedisEvents, ServerSentEvent
from flask_redis_events.testing import hear, read_events
from flask_redis_events.wire import Event
from tests.support.waiting import wait_until

CARD = '<li class="card">\n  "one"\n</li>'


@pytest.fixture(params=["redis", "memory"])
def app(request, prefix, redis_server) -> Flask:
    app = Flask(__name__)
    url = redis_server.url if request.param == "redis" else f"memory://{prefix}"
    app.config.update(REDIS_EVENTS_URL=url, REDIS_EVENTS_PREFIX=prefix)
    return app


@pytest.fixture
def events(app) -> Iterator[RedisEvents]:
    events = RedisEvents(app)
    yield events
    events.hub.close()


def read(app: Flask, url: str, count: int = 1, *, after: object = "") -> list[Event]:
    headers = {"Last-Event-ID": str(after)}
    return read_events(app.test_client().get(url, headers=headers, buffered=False), count)


def test_html_is_sent_as_it_is(app, events):
    """`emit_html`, Markup and `raw=` send the text without quotes, with an id, and keep it."""
    app.add_url_rule("/s", "s", events.stream("a", backlog=9)(lambda: None))
    ids = [
        events.emit_html("a", CARD),
        events.emit_html("a", Markup(CARD), event="card", retry=500, persist=True, key="k"),
        events.emit("a", Markup(CARD), event="card"),
        events.emit("a", ServerSentEvent(raw=CARD, event="card")),
        *events.emit_many([("a", Markup(CARD)), ("a", ServerSentEvent(Markup(CARD)))]),
        events.emit("a", CARD),
    ]
    got = read(app, "/s", 7)

    assert [event.data for event in got] == [CARD] * 6 + [
        '"<li class=\\"card\\">\\n  \\"one\\"\\n</li>"'
    ]
    assert [event.event for event in got] == ["message", *["card"] * 3, *["message"] * 3]
    assert [event.last_event_id for event in got] == ids


def test_html_is_resumed_as_it_was(app, events):
    """A client that comes back gets the fragments that it missed."""
    app.add_url_rule("/s", "s", events.stream("a")(lambda: None))
    first = events.emit_html("a", "<p>1</p>")
    second = events.emit_html("a", "<p>2</p>", event="card")

    assert read(app, "/s", after=first) == [Event("card", "<p>2</p>", str(second))]


def test_history_has_the_text(app, events):
    """`history` returns raw data as text, also where that happens to be JSON."""
    events.emit_html("a", '{"id": 7}', "card")
    events.emit("a", {"id": 7})

    assert [(one.event, one.data) for one in events.history("a")] == [
        ("card", '{"id": 7}'),
        (None, {"id": 7}),
    ]


def test_an_emitter_sends_html(app, events, prefix, redis_server):
    """`Emitter` has the same method."""
    url = app.config["REDIS_EVENTS_URL"]
    emitter = Emitter(url, prefix=prefix)
    emitter.emit_html("a", CARD)

    assert [one.data for one in events.history("a")] == [CARD]
    emitter.close()


def test_application_code_gets_the_text(app, events):
    """A callback, a generator and a listener are given raw data as text."""
    heard: list[Any] = []
    events.on("a")(lambda channel, message: heard.append(message))

    @app.get("/callback")
    @events.stream(backlog=9)
    def callback():
        return "a"

    def measure(channel, message, event):
        return {"length": len(message), "is": isinstance(message, str)}

    def measure_all(messages):
        for message in messages:
            yield {"length": len(message), "is": isinstance(message, str)}

    for name, function in (("c", measure), ("g", measure_all)):
        view = events.stream("a", backlog=9)(lambda function=function: function)
        app.add_url_rule(f"/{name}", name, view)
    events.start()
    with hear(app, "a") as also:
        events.emit_html("a", "[1]")
        also.wait()
    wait_until(lambda: heard)

    assert heard == ["[1]"]
    for name in "cg":
        assert [one.data for one in read(app, f"/{name}")] == ['{"length":3,"is":true}']


@pytest.mark.parametrize("shared", [False, True])
def test_html_that_a_callback_returns_is_still_html(app, events, shared):
    """A callback that only filters passes raw data on as it is, with its event name and id."""
    view = events.stream("a", backlog=9, shared=shared)(
        lambda: lambda channel, message, event: None if "secret" in message else message
    )
    app.add_url_rule("/s", "s", view)
    events.emit_html("a", "<p>secret</p>")
    id = events.emit_html("a", "<p>1</p>", event="card")

    assert read(app, "/s") == [Event("card", "<p>1</p>", str(id))]


def test_a_generator_passes_html_on(app, events):
    """A generator function that yields raw data passes it on as it is."""

    def every_other(messages):
        for message in messages:
            if messages.taken % 2:
                yield message

    app.add_url_rule("/s", "s", events.stream("a", backlog=9)(lambda: every_other))
    events.emit_many([("a", Markup(f"<p>{number}</p>")) for number in range(3)])

    assert [one.data for one in read(app, "/s", 2)] == ["<p>0</p>", "<p>2</p>"]


def test_application_code_makes_html(app, events):
    """Callbacks, `event.message`, `on_open`, generators and polls may make HTML of data."""

    def made(channel, message, event):
        event.message(Markup("<i>first</i>"), event="card")
        return ServerSentEvent(raw="<b>then</b>")

    def generated(messages):
        for message in messages:
            yield Markup(f"<b>{message['id']}</b>")

    greet = {"on_open": lambda event: Markup("<p>hello</p>")}
    views = {
        "made": events.stream("a", backlog=1, **greet)(lambda: made),
        "generated": events.stream("a", backlog=1)(lambda: generated),
        "polled": events.poll()(lambda: lambda event: Markup("<b>now</b>")),
    }
    for name, view in views.items():
        app.add_url_rule(f"/{name}", name, view)
    events.emit("a", {"id": 7})

    assert [one[:2] for one in read(app, "/made", 3)] == [
        ("message", "<p>hello</p>"),
        ("card", "<i>first</i>"),
        ("message", "<b>then</b>"),
    ]
    assert [one.data for one in read(app, "/generated")] == ["<b>7</b>"]
    assert [one.data for one in read(app, "/polled")] == ["<b>now</b>"]


def test_a_listener_relays_html(app, events):
    """Raw data that is emitted again, on another channel, is still raw."""
    events.on("a")(lambda channel, message: events.emit("b", message))
    events.start()
    with hear(app, "b") as heard:
        wait_until(lambda: events.emit_html("a", "[1]") and events.history("b"))
        ((_, value), *_) = heard.wait()

    assert value == "[1]"


@pytest.mark.parametrize(
    "html, fix",
    [
        pytest.param(b"<li>", r"write data\.decode\(\)", id="bytes"),
        pytest.param({"a": 1}, "sends a value as JSON", id="a dict"),
        pytest.param(None, "must be a str, not None", id="None"),
        pytest.param("\0", "holds NUL", id="NUL"),
    ],
)
def test_what_is_no_html_is_refused(app, events, html, fix):
    """`emit_html` refuses what is no text, before anything reaches Redis."""
    with pytest.raises(FieldError, match=fix):
        events.emit_html("a", html)
    assert events.history("a") == []


def test_without_history_html_is_html(app):
    """Raw data needs neither ids nor history."""
    app.config["REDIS_EVENTS_HISTORY"] = 0
    events = RedisEvents(app)
    with hear(app, "a") as heard:
        events.emit_html("a", "[1]")

        assert heard.wait() == [("a", "[1]")]
    events.hub.close()
