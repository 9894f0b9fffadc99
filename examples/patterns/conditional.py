"""Only messages that a client has asked for: a callback skips the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, request

from flask_redis_events import RedisEvents

events = RedisEvents()


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env()
    app.config.update(config or {})
    events.init_app(app)

    @app.post("/emit")
    def emit() -> Any:
        return {"id": events.emit("alerts", request.get_json())}

    @app.get("/stream")
    @events.stream("alerts")
    def stream() -> Callable[..., Any]:
        """Send alerts of `?priority=5` or more, and after each of priority 9 its page's title."""
        # The callback runs without a request, so the view takes what it needs from it.
        least = request.args.get("priority", 5, type=int)

        def on_message(channel: str, alert: Any, event: Any) -> Any:
            if alert["priority"] >= 9:
                event.message({"title": "Urgent!"}, event="title")
            # A skipped message moves the client's position, so it is not replayed either.
            return alert if alert["priority"] >= least else None

        return on_message

    return app
