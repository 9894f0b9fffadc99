"""The application under audit: each kind of stream, a door to emit through, and its metrics."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from flask import Flask, request

from flask_redis_events import RedisEvents
from flask_redis_events.streams.callbacks import StreamEvent
from flask_redis_events.streams.pull import Messages

from .ledger import skipped

#: Seconds that the generator gathers for: longer than a heartbeat, which must not pass it by.
GATHER = 6.0

events = RedisEvents()


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env("TEST")
    events.init_app(app)
    add_streams(app)
    add_doors(app)
    return app


def add_streams(app: Flask) -> None:
    @app.get("/through")
    @events.stream()
    def through() -> list[str]:
        return request.args.getlist("name")

    @app.get("/callback/<name>")
    @events.stream("{name}")
    def callback(name: str) -> Callable[..., Any]:
        return transform

    @app.get("/shared/<name>")
    @events.stream("{name}", shared=True)
    def shared(name: str) -> Callable[..., Any]:
        return transform

    @app.get("/pull/<name>")
    @events.stream("{name}")
    def pull(name: str) -> Callable[..., Any]:
        return gather


def transform(channel: str, message: Any, event: StreamEvent) -> Any:
    """Skip some, and send two events for some."""
    if message is None or skipped(message["number"]):
        return None  # None is what is emitted where it is not kept
    if message["number"] % 5 == 0:
        event.message(message["number"], event="part")
    return {**message, "made": True}


def gather(messages: Messages) -> Iterator[Any]:
    """Send three at a time, or what there is when nothing comes for a while."""
    batch: list[Any] = []
    while True:
        taken = messages.taken
        message = messages.get(timeout=GATHER)
        if message is not None:
            batch.append(message)
        if batch and (messages.taken == taken or len(batch) == 3):
            yield batch
            batch = []


def add_doors(app: Flask) -> None:
    @app.get("/")
    def index() -> str:
        return "here"

    @app.post("/emit/<name>")
    def emit(name: str) -> Any:
        return {"id": events.emit(name, request.get_json())}

    @app.get("/state")
    def state() -> Any:
        return {"pid": os.getpid(), "metrics": events.hub.metrics.snapshot()}
