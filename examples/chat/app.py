"""A chat: a room for each URL, its last messages, and who is here."""

from __future__ import annotations

import time
from typing import Any

from flask import Flask, Response, abort, render_template, request

from flask_redis_events import RedisEvents

events = RedisEvents()


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env("EXAMPLE")
    events.init_app(app)

    @app.get("/")
    @app.get("/rooms/<room>")
    def index(room: str = "lobby") -> str:
        return render_template("index.html", room=room)

    @app.get("/rooms/<room>/stream")
    def stream(room: str) -> Response:
        """Messages and presence; `?name=` says who comes in."""
        name = _text(request.args.get("name"), 24)
        channel = f"chat:room:{room}"

        def tell(what: str) -> None:
            # Who is here is not worth keeping for those who come back.
            events.emit(channel, {"name": name}, event=what, persist=False)

        return events.stream_response(
            channel,
            backlog=50,
            on_open=lambda event: tell("joined"),
            on_close=lambda event, reason: tell("left"),
        )

    @app.post("/rooms/<room>")
    def say(room: str) -> Any:
        body = request.get_json()
        if not isinstance(body, dict):
            abort(400, "Send an object with name and text.")
        message = {
            "name": _text(body.get("name"), 24),
            "text": _text(body.get("text"), 500),
            "at": time.time(),
        }
        return {"id": events.emit(f"chat:room:{room}", message, event="said")}

    return app


def _text(value: Any, most: int) -> str:
    if not isinstance(value, str) or not 0 < len(value.strip()) <= most:
        abort(400, f"A text of 1 to {most} characters is needed.")
    return value.strip()
