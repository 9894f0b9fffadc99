"""Several messages as one: ten of them, or those of two seconds if no more come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flask import Flask, abort, request

from flask_redis_events import Messages, RedisEvents

events = RedisEvents()
CHANNELS = ("orders", "payments", "shipments")
SIZE = 10
SECONDS = 2.0


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env()
    app.config.update(config or {})
    events.init_app(app)

    @app.post("/emit/<channel>")
    def emit(channel: str) -> Any:
        if channel not in CHANNELS:
            abort(404)
        return {"id": events.emit(channel, request.get_json())}

    @app.get("/stream")
    @events.stream(*CHANNELS)
    def stream() -> Callable[[Messages], Iterator[Any]]:
        return batches

    return app


def batches(messages: Messages) -> Iterator[Any]:
    """Send a batch when it is full, or when its first message has waited long enough.

    A client that loses its connection gets the messages of an unfinished batch again, because an
    event has the id of the last message before it.
    """
    while True:
        batch = [{"data": messages.get(), "channel": messages.channel}]
        due = time.monotonic() + SECONDS
        while len(batch) < SIZE and (left := due - time.monotonic()) > 0:
            message = messages.get(timeout=left)
            if message is not None:  # None: the time is over
                batch.append({"data": message, "channel": messages.channel})
        yield {"count": len(batch), "batch": batch}
