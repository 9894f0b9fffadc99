"""A dashboard: named events of several channels, and four ways to send fewer messages."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from flask import Flask, abort, render_template, request

from flask_redis_events import BrokerError, RedisEvents, ServerSentEvent

events = RedisEvents()
METRICS = ("users", "orders", "performance")


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.update(
        REDIS_EVENTS_URL=os.environ.get("REDIS_EVENTS_URL", "redis://localhost:6379/0"),
        REDIS_EVENTS_PREFIX=os.environ.get("REDIS_EVENTS_PREFIX", "events:"),
    )
    events.init_app(app)

    @app.get("/")
    def index() -> str:
        return render_template("index.html", metrics=METRICS)

    @app.post("/metrics/<name>")
    def publish(name: str) -> Any:
        """Accept a figure from a monitoring service, which could also emit it itself."""
        body = request.get_json()
        if name not in METRICS or not isinstance(body, dict) or "value" not in body:
            abort(400, f"Send {{'value': …}} for one of {', '.join(METRICS)}.")
        figure = {"value": body["value"], "priority": body.get("priority", 0), "at": time.time()}
        return {"id": events.emit(f"metrics:{name}", figure)}

    def show_known(event: Any) -> None:
        """Send the last figure of each metric to a new client; a reconnecting one needs none."""
        if event.last_event_id is None:
            for name in METRICS:
                for last in events.history(f"metrics:{name}", limit=1):
                    event.message(last.data, event=name)

    @app.get("/stream")
    @events.stream(*(f"metrics:{name}" for name in METRICS), shared=True, on_open=show_known)
    def stream() -> Callable[..., Any]:
        """Send each metric as an event of its own name; the callback runs once for all clients."""

        def on_message(channel: str, message: Any, event: Any) -> Any:
            return ServerSentEvent(message, event=channel.removeprefix("metrics:"))

        return on_message

    @app.get("/stream/slow")
    @events.stream("metrics:*")
    def slow() -> Callable[..., Any]:
        """Send at most one message a second of each channel."""
        sent: dict[str, float] = {}  # each stream has its own

        def on_message(channel: str, message: Any, event: Any) -> Any:
            now = time.monotonic()
            if now - sent.get(channel, 0) < 1:
                return None
            sent[channel] = now
            return _named(channel, message)

        return on_message

    @app.get("/stream/batches")
    @events.stream("metrics:*")
    def batches() -> Callable[..., Any]:
        """Send ten messages at a time, or fewer after five seconds."""

        def gather(messages: Any) -> Iterator[Any]:
            while True:
                batch: list[Any] = []
                due = time.monotonic() + 5
                while len(batch) < 10 and (left := due - time.monotonic()) > 0:
                    message = messages.get(timeout=left)
                    if message is not None:
                        batch.append(_named(messages.channel, message))
                if batch:
                    yield {"batch": batch, "count": len(batch)}

        return gather

    @app.get("/stream/urgent")
    @events.stream("metrics:*")
    def urgent() -> Callable[..., Any]:
        """Send only messages with a priority of 5 or more."""

        def on_message(channel: str, message: Any, event: Any) -> Any:
            return _named(channel, message) if message["priority"] >= 5 else None

        return on_message

    @app.get("/stream/clock")
    @events.poll(interval=1.0, shared=True)
    def clock() -> Callable[..., Any]:
        """Compute a value once a second, for all clients of a worker; nothing is emitted."""
        return lambda event: {"time": time.strftime("%H:%M:%S"), "streams": events.hub.streams}

    @app.errorhandler(BrokerError)
    def away(error: BrokerError) -> Any:
        # The error's text may describe our Redis, so it goes into the log and not to the client.
        app.logger.error("%s", error)
        return {"error": "Redis is away, try again later."}, 503

    return app


def _named(channel: str, figure: Any) -> Any:
    return {"metric": channel.removeprefix("metrics:"), **figure}
