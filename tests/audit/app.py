"""The application under audit: a view for each kind of stream, one to emit, and one for metrics."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import greenlet
from flask import Flask, request

from flask_redis_events import Messages, RedisEvents
from flask_redis_events.streams.callbacks import StreamEvent

from .emitting import GATHER, behind_sentinels
from .ledger import skipped

events = RedisEvents(redis=behind_sentinels(os.environ.get("TEST_SENTINELS", "")))


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

    @app.get("/backlog/<name>")
    @events.stream("{name}", backlog=20)
    def backlog(name: str) -> None:
        """Send the last messages first."""

    @app.get("/pull/<name>")
    @events.stream("{name}")
    def pull(name: str) -> Callable[..., Any]:
        return gather

    @app.get("/present/<name>")
    @events.stream("{name}", identity=lambda: request.args.get("who"), presence="events")
    def present(name: str) -> None:
        """Stream to an identity, and tell who comes and goes."""

    @app.get("/run/<name>")
    @events.stream("{name}", backlog="all")
    def run(name: str) -> None:
        """Show a run."""

    @app.get("/told/<name>")
    @events.stream("{name}", backlog="all")
    def told(name: str) -> Callable[..., Any]:
        """Show a run through a callback."""
        return lambda channel, message, event: message

    @app.get("/poll")
    @events.poll(interval=0.05)
    def poll() -> Callable[[], Any]:
        return time.time


def transform(channel: str, message: Any, event: StreamEvent) -> Any:
    """Skip some messages, and send two events for some others."""
    if not isinstance(message, dict):
        return message  # transient messages of the audit have the value None, and others are forged
    if skipped(message["number"]):
        return None
    if message["number"] % 5 == 0:
        event.message(message["number"], event="part")
    return {**message, "made": True}


def gather(messages: Messages) -> Iterator[Any]:
    """Send three messages at a time, or fewer if none arrives for a while."""
    batch: list[Any] = []
    while True:
        taken = messages.taken
        message = messages.get(timeout=GATHER)
        if isinstance(message, dict):  # and not forged
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

    @app.get("/held")
    def held() -> Any:
        gc.collect()
        objects = gc.get_objects()
        greenlets = sum(isinstance(one, greenlet.greenlet) for one in objects)
        return {"streams": events.hub.streams, "objects": len(objects), "greenlets": greenlets}
