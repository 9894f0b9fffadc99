"""This project: each way to write a stream has a view, and each name has a channel."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flask import Flask

import flask_redis_events
from flask_redis_events import RedisEvents

#: Seconds between two values of a poll.
INTERVAL = 1.0


def create_app() -> Flask:
    """Return the application; it imports from the package's root only, so that any version fits."""
    app = Flask(__name__)
    app.config.from_prefixed_env("BENCH")
    events = RedisEvents(app)
    _streams(app, events)

    for path, pattern in (("narrow", "room:123*"), ("wide", "room:0*"), ("all", "room:*")):
        app.add_url_rule(f"/{path}", path, events.stream(pattern)(lambda: None))

    @app.get("/poll/<name>")
    @events.poll(interval=INTERVAL)
    def poll(name: str) -> Callable[..., Any]:
        return lambda event: {"t": round(time.monotonic(), 6), "n": 1, "text": "x" * 32}

    @app.get("/metrics")
    def metrics() -> dict[str, Any]:
        return events.hub.metrics.snapshot()

    @app.get("/package")
    def package() -> str:
        return str(Path(flask_redis_events.__file__).parents[1])

    @app.get("/")
    def index() -> str:
        return "here"

    return app


def _streams(app: Flask, events: RedisEvents) -> None:
    """Add the streams of a channel."""

    @app.get("/stream/<name>")
    @events.stream("{name}")
    def stream(name: str) -> None:
        """Passed through."""

    @app.get("/callback/<name>")
    @events.stream("{name}")
    def callback(name: str) -> Callable[..., Any]:
        return lambda channel, message, event: message

    @app.get("/shared/<name>")
    @events.stream("{name}", shared=True)
    def shared(name: str) -> Callable[..., Any]:
        return lambda channel, message, event: message

    @app.get("/generator/<name>")
    @events.stream("{name}")
    def generator(name: str) -> Callable[..., Any]:
        def pull(messages: Any) -> Iterator[Any]:
            for message in messages:  # noqa: UP028 as users write it, with code in between
                yield message

        return pull
