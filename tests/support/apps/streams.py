"""One view for each feature of streams; the end-to-end tests request them over HTTP."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import redis
from flask import Flask, Response, abort, current_app, jsonify, request
from redis.backoff import NoBackoff
from redis.retry import Retry

from flask_redis_events import (
    Messages,
    RedisEvents,
    ServerSentEvent,
    emit,
    redis_event,
    server_event,
)
from flask_redis_events.streams.callbacks import StreamEvent

events = RedisEvents()
heard: list[Any] = []
closed: list[str] = []
called: list[Any] = []
teardowns = itertools.count()
polls = itertools.count()


@events.on("heard:*")
def hear(channel: str, message: Any) -> None:
    """Keep the message for `/state`."""
    if message == "raise":
        raise RuntimeError("A listener that fails.")
    if message == "exit":
        raise SystemExit("Not of this process.")
    heard.append([os.getpid(), channel, message])


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env("TEST")
    events.init_app(app)
    add_streams(app)
    add_callbacks(app)
    add_finalizers(app)
    add_polls(app)
    add_doors(app)
    return app


def add_streams(app: Flask) -> None:
    @app.get("/channel/<path:name>")
    @events.stream("{name}")
    def channel(name: str) -> None:
        """Stream one channel without a callback."""

    @app.get("/channels")
    @events.stream()
    def named() -> list[str]:
        return request.args.getlist("name")

    @app.get("/owned/<name>")
    @events.stream(
        "{name}",
        identity=lambda: request.args.get("who"),
        on_close=lambda event, reason: closed.append(reason),
    )
    def owned(name: str) -> None:
        """Stream to the identity that the URL names, or to an address."""

    @app.get("/user/<user>")
    @events.stream("user:{user}:notifications")
    def user(user: str) -> Any:
        if user == "eve":
            abort(403)
        if user == "mallory":
            return {"error": "no"}, 401
        return None

    @app.get("/page/<name>")
    def page(name: str) -> str:
        return PAGE % (name, name)

    @app.get("/response")
    def response() -> Response:
        return redis_event(request.args.getlist("name"), heartbeat=0.3)

    @app.get("/backlog/<name>")
    @events.stream("{name}", backlog=3)
    def backlog(name: str) -> None:
        """Send the last three messages first."""

    @app.get("/plain/<name>")
    @events.stream("{name}", history=False, heartbeat=0.3)
    def plain(name: str) -> None:
        """Send no ids."""

    @app.get("/short/<name>")
    @events.stream("{name}", max_age=0.5, on_close=lambda event, reason: closed.append(reason))
    def short(name: str) -> None:
        """End after half a second, and ask the browser to reconnect."""

    @app.get("/open/<name>")
    @events.stream("{name}", on_open=lambda event: {"hello": event.channels})
    def opened(name: str) -> None:
        """Send a value of `on_open` first."""


PAGE = """<!doctype html><title>%s</title><script>
window.got = []; window.resets = 0; window.ready = 0;
const source = new EventSource("/channel/%s");
source.onmessage = (event) => got.push(JSON.parse(event.data));
source.addEventListener("reset", () => resets += 1);
source.addEventListener("ready", () => ready += 1);
</script>"""


def add_callbacks(app: Flask) -> None:
    @app.teardown_appcontext
    def teardown(error: BaseException | None) -> None:
        next(teardowns)

    @app.get("/callback/<name>")
    @events.stream("{name}")
    def callback(name: str) -> Callable[..., Any]:
        def on_message(channel: str, message: Any, event: StreamEvent) -> Any:
            if message == "raise":
                raise RuntimeError("A callback that fails.")
            if message == "exit":
                raise SystemExit("Not of this process.")
            if message == "skip":
                return None
            if message == "named":
                return ServerSentEvent({"is": "named"}, event="special")
            if message == "two":
                event.message("first of two", event="part")
                return "second of two"
            if message == "unserialisable":
                return object()
            if message == "terminate":
                event.terminate()
                return "last words"
            if message == "false":
                event.message("final")
                return False
            return [channel, message]

        return on_message

    @app.get("/short-callback/<name>")
    @events.stream("{name}", max_age=0.5)
    def short_callback(name: str) -> Callable[..., Any]:
        return _pass_on

    @app.get("/once/<name>")
    @events.stream("{name}", shared=True)
    def once(name: str) -> Callable[..., Any]:
        def on_message(channel: str, message: Any, event: StreamEvent) -> Any:
            called.append(message)
            if message == "raise":
                raise RuntimeError("A shared callback that fails.")
            if message == "exit":
                raise SystemExit("Not of this process.")
            if message == "two":
                event.message("first of two")
                return "second of two"
            if message == "false":
                event.message("final")
                return False
            return None if message == "skip" else {"made of": message}

        return on_message

    @app.get("/optional/<name>")
    def optional(name: str) -> Response:
        return redis_event(
            name,
            lambda channel, message, event: message,
            shared=True,
            history="plain" not in request.args,
        )

    @app.get("/patient/<kind>/<name>")
    def patient(kind: str, name: str) -> Response:
        """Stream by code that waits, and then says that it goes on."""

        def on_close(event: StreamEvent, reason: str) -> None:
            closed.append(f"{name}: {reason}")

        def wait() -> str:
            called.append(name)
            time.sleep(0.5)
            closed.append(f"{name}: went on")
            return name

        def on_message(channel: str, message: Any, event: StreamEvent) -> Any:
            return wait()

        def pull(messages: Messages) -> Iterator[Any]:
            for _ in messages:
                yield wait()

        code: Any = pull if kind == "pull" else on_message
        return redis_event(name, code, on_close=on_close)

    @app.get("/pull/<name>")
    @events.stream("{name}", heartbeat=0.3)
    def pull(name: str) -> Callable[[Messages], Iterator[Any]]:
        def batches(messages: Messages) -> Iterator[Any]:
            batch: list[Any] = []
            while True:
                message = messages.get(timeout=0.3)
                if message == "raise":
                    raise RuntimeError("A generator that fails.")
                if message == "exit":
                    raise SystemExit("Not of this process.")
                if message == "end":
                    yield {"batch": batch, "last": True}
                    return
                if message is not None:
                    batch.append([messages.channel, message])
                elif batch:
                    yield {"batch": batch}
                    batch = []

        return batches

    @app.get("/foreign/<name>")
    @events.stream("{name}", heartbeat=0.3)
    def foreign(name: str) -> None:
        """Stream messages of other programs, which have no ids."""

    @app.get("/busy/<name>")
    @events.stream("{name}", heartbeat=0.3)
    def busy(name: str) -> Callable[[Messages], Iterator[Any]]:
        def ticking(messages: Messages) -> Iterator[Any]:
            while True:
                messages.get(timeout=0.05)
                yield "tick"

        return ticking

    @app.get("/mistaken/<name>")
    @events.stream("{name}")
    def mistaken(name: str) -> Any:
        def like_a_callback(channel: str, message: Any, event: StreamEvent) -> Iterator[Any]:
            yield message

        return like_a_callback

    @app.get("/untidy/<name>")
    @events.stream("{name}")
    def untidy(name: str) -> Callable[[Messages], Iterator[Any]]:
        def as_it_comes(messages: Messages) -> Iterator[Any]:
            try:
                for message in messages:
                    yield object() if message == "unserialisable" else message
            finally:
                raise RuntimeError(f"A generator of {current_app.name} that fails to clean up.")

        return as_it_comes

    @app.get("/hold/<name>")
    @events.stream("{name}", heartbeat=0.3)
    def hold(name: str) -> Callable[[Messages], Iterator[Any]]:
        def first_only(messages: Messages) -> Iterator[Any]:
            yield messages.get()
            while True:
                messages.get()

        return first_only

    @app.get("/slow/<name>")
    @events.stream("{name}", heartbeat=0.3)
    def slow(name: str) -> Callable[[Messages], Iterator[Any]]:
        def thoughtful(messages: Messages) -> Iterator[Any]:
            for message in messages:
                time.sleep(0.3)
                yield message[0]

        return thoughtful

    @app.get("/iterate/<name>")
    @events.stream("{name}")
    def iterate(name: str) -> Callable[[Messages], Iterator[Any]]:
        def doubled(messages: Messages) -> Iterator[Any]:
            for message in messages:
                yield message * 2

        return doubled


def add_finalizers(app: Flask) -> None:
    @app.get("/finalized/<name>")
    def finalized(name: str) -> Response:
        response = redis_event(name, _pass_on if "callback" in request.args else None)

        def fail() -> None:
            raise RuntimeError("A finalizer that fails.")

        response.call_on_close(lambda: closed.append(f"finalized {name}"))
        response.call_on_close(fail)
        response.call_on_close(lambda: closed.append(f"and {name}"))
        return response


def _pass_on(channel: str, message: Any, event: StreamEvent) -> Any:
    return message


def add_polls(app: Flask) -> None:
    @app.get("/poll")
    @events.poll(interval=0.1, heartbeat=0.3)
    def poll() -> Callable[[StreamEvent], Any]:
        numbers = itertools.count()

        def latest(event: StreamEvent) -> Any:
            number = next(numbers)
            if number == 1:
                return None
            if number == 2:
                raise RuntimeError("A poll that fails.")
            return number if number < 5 else False

        return latest

    @app.get("/shared")
    @events.poll(interval=0.2, shared=True)
    def shared() -> Callable[[StreamEvent], Any]:
        return lambda event: next(polls)

    @app.get("/slow-poll")
    def slow_poll() -> Response:
        return server_event(lambda event: time.sleep(0.3), interval=0.1, heartbeat=0.3)

    @app.get("/quiet")
    def quiet() -> Response:
        return server_event(lambda event: None, interval=0.1, heartbeat=0.3)


def add_doors(app: Flask) -> None:
    """Add views with which the tests emit, read the state, and use the app's own Redis client."""
    own = redis.Redis.from_url(
        app.config["REDIS_EVENTS_URL"], max_connections=1, retry=Retry(NoBackoff(), 0)
    )

    @app.get("/")
    def index() -> str:
        return "here"

    @app.post("/emit/<path:name>")
    def emit_one(name: str) -> Any:
        return {"id": emit(name, request.get_json(), event=request.args.get("event"))}

    @app.post("/emit-many/<name>")
    def emit_many(name: str) -> Any:
        return {"ids": events.emit_many([(name, data) for data in request.get_json()])}

    @app.post("/price/<name>/<key>")
    def price(name: str, key: str) -> Any:
        return {"id": emit(name, request.get_json(), key=key)}

    @app.get("/state")
    def state() -> Any:
        hub = events.hub
        return jsonify(
            pid=os.getpid(),
            streams=hub.streams,
            metrics=hub.metrics.snapshot(),
            threads=threading.active_count(),
            heard=heard,
            closed=closed,
            called=called,
            polls=next(polls),
            teardowns=next(teardowns),
        )

    @app.get("/cache")
    def cache() -> Any:
        return {"answers": own.incr("cache-answers")}
