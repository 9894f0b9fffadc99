"""This project: one view, whose URL names the channel."""

from __future__ import annotations

from typing import Any

from flask import Flask

from flask_redis_events import RedisEvents


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env("BENCH")
    events = RedisEvents(app)

    @app.get("/stream/<name>")
    @events.stream("{name}")
    def stream(name: str) -> None:
        """Stream the channel without a callback."""

    @app.get("/metrics")
    def metrics() -> dict[str, Any]:
        return events.hub.metrics.snapshot()

    @app.get("/")
    def index() -> str:
        return "here"

    return app
