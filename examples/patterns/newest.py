"""At most one value a second, and always the last one: it leaves when its second is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flask import Flask, request

from flask_redis_events import Messages, RedisEvents

events = RedisEvents()
SECONDS = 1.0


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env()
    app.config.update(config or {})
    events.init_app(app)

    @app.post("/emit")
    def emit() -> Any:
        return {"id": events.emit("updates", request.get_json())}

    @app.get("/stream")
    @events.stream("updates")
    def stream() -> Callable[[Messages], Iterator[Any]]:
        return newest

    return app


def newest(messages: Messages) -> Iterator[Any]:
    """Send the first value at once, then the newest one whenever a second is over."""
    next_at = 0.0
    while True:
        value = messages.get()
        # A callback could only drop what comes too early, the last value before a silence included.
        # A generator waits, and sends that value although nothing follows it.
        while (left := next_at - time.monotonic()) > 0:
            later = messages.get(timeout=left)
            value = value if later is None else later
        next_at = time.monotonic() + SECONDS
        yield value
