"""The extension: what `init_app` does, and errors that name the fix."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator

import flask
import pytest
import redis
from flask import Blueprint, Flask
from redis.sentinel import Sentinel
from werkzeug.exceptions import Forbidden

import flask_redis_events
from flask_redis_events import (
    ChannelError,
    ConfigError,
    Emitter,
    FieldError,
    RedisEvents,
    ServerSentEvent,
    SetupError,
    emit,
    redis_event,
    server_event,
)
from flask_redis_events.broker.connections import broker_error
from flask_redis_events.listener import Listener
from flask_redis_events.testing import hear, read_events
from tests.support.processes import ROOT


@pytest.fixture
def app(prefix) -> Flask:
    return memory_app(f"memory://{prefix}")


def memory_app(url: str) -> Flask:
    app = Flask(__name__)
    app.config["REDIS_EVENTS_URL"] = url
    return app


@pytest.fixture
def events(app):
    events = RedisEvents(app)
    yield events
    events.hub.close()


def test_init_app_starts_nothing(monkeypatch):
    """`init_app` makes no connection, thread or lock, because a fork may follow."""

    def refuse(*args, **kwargs):
        raise AssertionError("init_app must not do this.")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    for name in ("Lock", "RLock", "Event", "Condition"):
        monkeypatch.setattr(threading, name, refuse)
    app = Flask(__name__)
    events = RedisEvents()
    events.init_app(app)

    assert app.extensions["redis_events"] is events


def test_a_second_init_app_is_an_error(app, events):
    """The error says what to call instead."""
    with pytest.raises(SetupError, match="call init_app once"):
        events.init_app(app)
    with pytest.raises(SetupError, match="call init_app once"):
        RedisEvents(app)


def test_an_app_that_has_another_is_named(app, events):
    """The error refers to the app's own RedisEvents, because a second one would not help."""
    with app.app_context(), pytest.raises(SetupError, match="another RedisEvents: use app"):
        RedisEvents().emit("a", 1)


def test_a_url_is_no_application():
    """A URL in the place of the app is refused, and the error says where it belongs."""
    with pytest.raises(SetupError, match=r"app\.config\['REDIS_EVENTS_URL'\]"):
        RedisEvents("redis://localhost")  # type: ignore[arg-type]


def test_an_app_that_serves_already_is_left_as_it_was(app):
    """Flask refuses a late `init_app`, and the extension leaves nothing on the app."""
    app.test_client().get("/")
    with pytest.raises(AssertionError, match="already handled its first request"):
        RedisEvents(app)
    assert not [name for name in app.extensions if name.startswith("redis_events")]


def test_a_module_that_was_loaded_anew_is_told():
    """Where gevent has patched another copy of `threading` than ours, the error names the fix."""
    program = """if True:
        import sys
        from gevent import monkey
        monkey.patch_all()
        for name in ("_thread", "threading"):
            del sys.modules[name]
        from flask import Flask
        from flask_redis_events import RedisEvents
        RedisEvents(Flask("app"))
    """
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert "SetupError" in run.stderr
    assert "start gunicorn with ddtrace-run" in run.stderr


def test_use_before_init_app_is_an_error():
    """The methods and the helpers say that `init_app` is missing, with and without a context."""
    with pytest.raises(SetupError, match=r"call events\.init_app\(app\)"):
        RedisEvents().emit("a", 1)
    with Flask(__name__).test_request_context():
        for use in (
            lambda: RedisEvents().emit("a", 1),
            lambda: emit("a", 1),
            lambda: redis_event("a"),
            lambda: server_event(lambda event: 1),
        ):
            with pytest.raises(SetupError, match="init_app"):
                use()


def test_several_apps(prefix):
    """Each application has its own settings; a call without a context must name the application."""
    events = RedisEvents()
    one, two = memory_app(f"memory://{prefix}1"), memory_app(f"memory://{prefix}2")
    two.config["REDIS_EVENTS_HISTORY"] = 0
    events.init_app(one)
    events.init_app(two)

    with pytest.raises(SetupError, match="several applications"):
        events.emit("a", 1)
    with one.app_context(), hear(one, "a") as heard:
        hub = events.hub
        assert events.emit("a", "one")
        with two.app_context():
            assert events.emit("a", "two") is None
            assert events.hub is not hub
        assert heard.wait() == [("a", "one")]
    for app in (one, two):
        with app.app_context():
            events.hub.close()


def test_an_app_is_not_kept_alive(prefix):
    """The extension does not keep an application alive, which matters in test suites."""
    events = RedisEvents()
    app = memory_app(f"memory://{prefix}")
    events.init_app(app)
    reference = weakref.ref(app)
    del app
    gc.collect()

    assert reference() is None


def test_emit_outside_a_context_means_the_only_app(app, events):
    """With one application, `events.emit` works without a context, as in threads and scripts."""
    with hear(app, "a") as heard:
        events.emit("a", {"id": 7})

        assert heard.wait() == [("a", {"id": 7})]


async def later(*args: object) -> None: ...


def generator(*args: object) -> Iterator[None]:
    yield


@pytest.mark.parametrize(
    "options, match",
    [
        ({"heartbeat": 0}, "heartbeat must be a positive number of seconds"),
        ({"max_age": "1h"}, "max_age must be"),
        ({"backlog": -1}, "backlog must be"),
        ({"history": "no"}, "history must be True or False"),
        ({"overflow": "block"}, "overflow must be one of close, drop, latest"),
        ({"on_open": 7}, "on_open must be a function"),
        ({"on_open": later}, "on_open cannot be async: write a plain function"),
        ({"on_close": generator}, "on_close must be a plain function"),
        ({"shared": "role"}, "shared must be True, False or a function"),
        ({"shared": later}, "shared cannot be async"),
        ({"shared": generator}, "shared must be a plain function"),
        ({"heartbeats": 7}, "no option 'heartbeats'; use one of heartbeat, "),
        ({"interval": 7}, "no option 'interval'"),
    ],
    ids=lambda given: given if isinstance(given, str) else " ".join(given),
)
def test_a_wrong_option_fails_where_it_is_written(events, options, match):
    """A wrong option fails when the view is decorated, and not in the first request."""
    with pytest.raises(ConfigError, match=match):
        events.stream("a", **options)


@pytest.mark.parametrize("channel", ["", "a\nb", "{", "{0}", "$x", 7], ids=repr)
def test_a_wrong_channel_fails_where_it_is_written(events, channel):
    """A wrong channel fails when the view is decorated."""
    with pytest.raises(ChannelError):
        events.stream(channel)


def test_a_view_must_not_be_a_generator(events):
    """A view that is a generator function is refused, and the error names it."""
    with pytest.raises(ConfigError, match="view 'orders' is a generator function"):

        @events.stream("orders")
        def orders():
            yield 1

    with pytest.raises(ConfigError, match="view 'later' is a generator function"):

        @events.poll()
        async def later():
            yield 1


@pytest.mark.parametrize("place", ["app", "blueprint", "init_app later"])
def test_decorators_in_the_wrong_order_are_named(place):
    """A route below `@events.stream` would serve the view alone; the error says so."""
    app, events, blueprint = memory_app("memory://order"), RedisEvents(), Blueprint("b", __name__)
    app.testing = True
    if place != "init_app later":
        events.init_app(app)

    @events.stream("orders")
    @(blueprint if place == "blueprint" else app).get("/orders")
    def orders(): ...

    @app.get("/right")
    @events.poll()
    def right():
        return lambda stream: 1

    app.register_blueprint(blueprint)
    if place == "init_app later":
        events.init_app(app)

    with pytest.raises(SetupError, match=r"'orders' leads to the view.*below the route"):
        app.test_client().get("/orders")
    with app.test_client().get("/right", buffered=False) as response:
        assert response.status_code == 200
    assert app.test_client().get("/nowhere").status_code == 404
    events.hub.close()


@pytest.mark.parametrize(
    "result, error, match",
    [
        (None, ChannelError, "The stream has no channels"),
        ([], ChannelError, "at least one channel"),
        ("a\nb", ChannelError, "line end"),
        ("redis:audit", ChannelError, "'redis:'; omit it"),
    ],
    ids=repr,
)
def test_a_stream_without_channels_is_an_error(app, events, result, error, match):
    """A stream needs channels from the decorator or from the view, and good ones."""
    app.testing = True

    @app.get("/s")
    @events.stream()
    def s():
        return result

    with pytest.raises(error, match=match):
        app.test_client().get("/s")


def test_async_callbacks_are_refused(app, events):
    """Async callbacks are refused, because nothing would await them."""

    async def on_message(channel, message, event): ...

    class Called:
        async def __call__(self, channel, message, event): ...

    for callback in (on_message, Called()):
        with app.test_request_context(), pytest.raises(ConfigError, match="cannot be async"):
            events.stream_response("a", callback)


def test_an_object_may_be_a_generator_function(app, events):
    """An object whose `__call__` is a generator function is treated like one."""

    class Doubled:
        def __call__(self, messages):
            for message in messages:
                yield message * 2

    app.get("/s")(events.stream("a", backlog=1)(lambda: Doubled()))
    events.emit("a", 21)

    (event,) = read_events(app.test_client().get("/s", buffered=False), 1)
    assert event.data == "42"


def test_a_poll_needs_a_function(app, events):
    """A poll without a function is an error, although a stream without a callback is none."""
    with app.test_request_context(), pytest.raises(ConfigError, match="A poll must be a function"):
        events.poll_response(None)


def test_an_http_error_that_is_returned_refuses(app, events):
    """An HTTPException that a view returns is the response, although it is callable."""

    @app.get("/s")
    @events.stream("a")
    def s():
        return Forbidden()

    assert app.test_client().get("/s").status_code == 403


def test_listeners_that_would_never_run_are_refused(events):
    """Async functions and generators are refused, because nothing would run their results."""

    async def later(channel, message): ...

    def generator(channel, message):
        yield message

    class Called:
        def __call__(self, channel, message):
            yield message

    for wrong in (later, generator, Called(), 7, None):
        with pytest.raises(ConfigError, match="listener"):
            events.on("a")(wrong)


def test_a_listener_is_started_once(app, events, monkeypatch):
    """A listener starts once, even if many first requests arrive together."""
    started = []
    monkeypatch.setattr(Listener, "start", lambda *args: started.append(args))
    events.on("a")(lambda channel, message: None)
    getpid = os.getpid

    def slow_getpid():
        time.sleep(0.05)
        return getpid()

    def first_request():
        with app.app_context():
            events.start()

    with monkeypatch.context() as slowly:
        slowly.setattr(os, "getpid", slow_getpid)
        requests = [threading.Thread(target=first_request) for _ in range(4)]
        for request in requests:
            request.start()
        for request in requests:
            request.join(5)

    assert len(started) == 1


def test_options_of_a_pool_may_stand_in_the_url(redis_server, prefix):
    """A URL may hold options of a pool, because redis-py's `from_url` accepts them."""
    emitter = Emitter(f"{redis_server.url}?max_connections=3&timeout=1", prefix=prefix)

    assert emitter.emit("a", 1)
    emitter.close()


@pytest.mark.parametrize("result", [{"a": 1}, [1, 2], ("no", 403), flask.Response("x")], ids=repr)
def test_other_values_are_responses(app, events, result):
    """A view may return any other value that Flask accepts, and no stream begins."""

    @app.get("/s")
    @events.stream("a")
    def s():
        return result

    response = app.test_client().get("/s")

    assert response.mimetype != "text/event-stream"
    assert response.status_code == (403 if isinstance(result, tuple) else 200)


def test_streams_in_a_test_client(app, events):
    """A test client reads a stream without a server and without Redis."""

    @app.get("/s/<name>")
    @events.stream("{name}", backlog=10)
    def s(name): ...

    events.emit("a", 1)
    events.emit("a", 2, event="named")
    response = app.test_client().get("/s/a", buffered=False)
    got = read_events(response, 2)

    assert [(event.event, event.data) for event in got] == [("message", "1"), ("named", "2")]
    assert events.hub.streams == 0


def test_after_request_sees_an_ordinary_response(app, events):
    """`after_request` can add headers, as for CORS, to a stream's response."""

    @app.after_request
    def cors(response):
        response.headers["Access-Control-Allow-Origin"] = "*"
        return response

    @app.get("/s")
    @events.stream("a")
    def s(): ...

    with app.test_client().get("/s", buffered=False) as response:
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert response.headers["Content-Type"] == "text/event-stream"


@pytest.mark.parametrize(
    "use",
    [
        lambda events: events.emit("", 1),
        lambda events: events.emit("a\nb", 1),
        lambda events: events.emit("a\0", 1),
        lambda events: events.emit("$ticks", 1),
        lambda events: events.emit("redis:redis:a", 1),
        lambda events: events.emit(None, 1),
    ],
)
def test_a_bad_channel_is_not_emitted_to(events, use):
    """`emit` to a bad channel raises, and the error shows the channel."""
    with pytest.raises(ChannelError):
        use(events)


@pytest.mark.parametrize(
    "data, options",
    [
        (float("nan"), {}),
        (..., {}),
        (1, {"event": "a\nid: 7"}),
        (1, {"event": "error"}),
        (1, {"event": "end"}),
        (1, {"retry": -1}),
        (1, {"retry": "soon"}),
        (1, {"key": "a\nb"}),
        (1, {"key": ""}),
        (ServerSentEvent(1, id="7"), {}),
    ],
    ids=repr,
)
def test_what_cannot_be_sent_is_refused(events, data, options):
    """Data that cannot be sent is refused before anything reaches Redis."""
    with pytest.raises(FieldError):
        events.emit("a", data, **options)


def test_flasks_json_is_used(app, events):
    """`emit` uses the application's JSON provider, so a date is written as by `jsonify`."""
    import datetime

    with hear(app, "a") as heard:
        events.emit("a", {"day": datetime.date(2026, 11, 23)})

        assert heard.wait() == [("a", {"day": "Mon, 23 Nov 2026 00:00:00 GMT"})]


def test_an_emitter_reaches_the_app(prefix, redis_server):
    """An `Emitter` with the same URL and prefix reaches the application's streams."""
    app = Flask(__name__)
    app.config.update(REDIS_EVENTS_URL=redis_server.url, REDIS_EVENTS_PREFIX=prefix)
    events = RedisEvents(app)
    emitter = Emitter(redis_server.url, prefix=prefix)
    with hear(app, "a") as heard:
        id = emitter.emit("redis:a", {"id": 7}, event="order")

        assert heard.wait() == [("a", {"id": 7})]
    assert id is not None
    events.hub.close()
    emitter.close()


@pytest.mark.parametrize(
    "url",
    [
        "localhost",
        "redis://localhost:notaport",
        "redis://[",
        "http://x",
        "redis://localhost/events",
        "redis://localhost/0?foo=1",
        "unix:///tmp/redis.sock?foo=1",
    ],
)
def test_a_wrong_url_fails_at_once(url):
    """A wrong URL fails in `init_app` and in `Emitter`."""
    with pytest.raises(ConfigError, match="must be a URL like redis://localhost:6379/0"):
        Emitter(url)


def test_the_settings_of_a_given_client_are_taken(redis_server, prefix):
    """A given client's settings are copied, but its pool, here exhausted, is never used."""
    client = redis_server.client(max_connections=1, decode_responses=True)
    app = Flask(__name__)
    app.config["REDIS_EVENTS_PREFIX"] = prefix
    events = RedisEvents(app, redis=client)
    with client.pubsub() as taken:
        taken.subscribe("x")
        with hear(app, "a") as heard:
            events.emit("a", 1)

            assert heard.wait() == [("a", 1)]
    events.hub.close()


def test_a_sentinel_client_can_be_given():
    """A Sentinel client's settings are those of its pool for the master; nothing connects."""
    master = Sentinel([("127.0.0.1", 1)]).master_for("main")
    events = RedisEvents(Flask(__name__), redis=master)

    assert events is not None
    master.close()


def test_what_is_no_client_is_refused():
    """`redis=` refuses any other object, and the error says what to pass."""
    with pytest.raises(ConfigError, match=r"redis= takes a redis\.Redis client"):
        RedisEvents(Flask(__name__), redis="redis://localhost")


def test_a_unix_socket(tmp_path, prefix):
    """A unix:// URL reaches a server that listens on no port."""
    from tests.support.servers import RedisServer

    path = tmp_path / "redis.sock"
    with RedisServer(tmp_path, arguments=("--unixsocket", str(path))):
        emitter = Emitter(f"unix://{path}")
        assert emitter.emit("a", 1)
        emitter.close()


def test_every_public_name_is_documented():
    """Every public name has a docstring."""
    for name in flask_redis_events.__all__:
        assert getattr(flask_redis_events, name).__doc__, name


def test_redis_errors_are_translated(redis_server, prefix):
    """A command that Redis refuses raises BrokerError, with the cause chained."""
    emitter = Emitter(redis_server.url, prefix=prefix)
    redis_server.client().set(f"{prefix}history:a", "not a stream")
    with pytest.raises(flask_redis_events.BrokerError, match="refused") as caught:
        emitter.emit("a", 1)

    assert isinstance(caught.value.__cause__, redis.RedisError)
    emitter.close()


def test_a_first_try_may_do_without_redis():
    """If nobody listens where Redis is by default, the error names `memory://`."""
    refused = "Error 111 connecting to {}. Connection refused."
    errors = [redis.ConnectionError(refused.format(at)) for at in ("localhost:6379", "redis:6379")]
    default, chosen = (str(broker_error(error)) for error in errors)

    assert "memory://" in default
    assert "memory://" not in chosen


def test_a_wrong_password_is_refused_at_once(redis_server):
    """A wrong password raises at once, without the retries for an unreachable Redis."""
    emitter = Emitter(redis_server.url.replace("://", "://:wrong@"))
    with pytest.raises(flask_redis_events.BrokerError, match="Redis refused"):
        emitter.emit("a", 1)
    emitter.close()


def test_history_is_read(app, events):
    """`history` returns the last events of a channel or pattern, or the first ones after an id."""
    ids = [events.emit(f"log:{number % 2}", number, event="logged") for number in range(6)]

    assert [event.data for event in events.history("log:*")] == list(range(6))
    assert [event.data for event in events.history("log:0", limit=2)] == [2, 4]
    (one,) = events.history("log:*", after=ids[2], limit=1)
    assert one == (ids[3], "log:1", "logged", 3)
    assert events.history("silent") == []
    for options in ({"after": "nonsense"}, {"limit": 0}, {"limit": "x"}):
        with pytest.raises(FieldError):
            events.history("log:0", **options)


def test_without_history_there_is_none(prefix):
    """With HISTORY = 0 nothing is kept, and `history` returns no events."""
    app = memory_app(f"memory://{prefix}")
    app.config["REDIS_EVENTS_HISTORY"] = 0
    events = RedisEvents(app)
    events.emit("a", 1)

    assert events.history("a") == []
