"""Streams that begin with the state of their channels."""

from __future__ import annotations

from typing import Any

from flask import Flask, request

from flask_redis_events import RedisEvents

events = RedisEvents()


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env("TEST")
    events.init_app(app)

    def callback(channel: str, message: Any, event: Any) -> Any:
        return message

    def generator(messages: Any) -> Any:
        yield from messages

    @app.get("/<kind>")
    @events.stream(backlog="state")
    def stream(kind: str) -> Any:
        return request.args.getlist("channel") or ["prices"]

    functions: dict[str, Any] = {"callback": callback, "shared": callback, "generator": generator}

    @app.get("/by/<kind>")
    def by(kind: str) -> Any:
        shared = kind == "shared"
        return events.stream_response("prices", functions[kind], backlog="state", shared=shared)

    @app.get("/state")
    def state() -> dict[str, Any]:
        return {"metrics": events.hub.metrics.snapshot()}

    return app
