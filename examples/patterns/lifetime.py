"""A stream that tells of silence every 30 seconds, and ends for good after 30 minutes.

The heartbeats that keep a connection open need no code: the extension sends them.  This is for a
page that shows how long nothing has come, and for a stream that must not outlive its purpose.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flask import Flask, request

from flask_redis_events import Messages, RedisEvents, ServerSentEvent

events = RedisEvents()


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.from_mapping(SILENCE=30.0, LIFETIME=1800.0)
    app.config.from_prefixed_env()
    app.config.update(config or {})
    events.init_app(app)

    @app.post("/emit")
    def emit() -> Any:
        return {"id": events.emit("news", request.get_json())}

    @app.get("/stream")
    @events.stream("news", heartbeat=15)
    def stream() -> Callable[[Messages], Iterator[Any]]:
        silence, lifetime = app.config["SILENCE"], app.config["LIFETIME"]

        def pull(messages: Messages) -> Iterator[Any]:
            heard_at = time.monotonic()
            over_at = heard_at + lifetime
            while (left := over_at - time.monotonic()) > 0:
                message = messages.get(timeout=min(silence, left))
                if message is not None:
                    heard_at = time.monotonic()
                    yield message
                elif left > silence:
                    seconds = round(time.monotonic() - heard_at)
                    yield ServerSentEvent({"silent": seconds}, event="silence")
            yield ServerSentEvent({"after": lifetime}, event="timeout")
            # A generator that returns ends its stream for good, so no browser comes back.  With
            # `max_age=` in its place, each browser comes back, and the view checks it anew.

        return pull

    return app
