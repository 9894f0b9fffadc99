"""A chat: a room for each URL, with its last messages and the presence of its users."""

from __future__ import annotations

import os
import time
from typing import Any

from flask import Flask, Response, abort, render_template, request

from flask_redis_events import BrokerError, ChannelError, RedisEvents, escape

events = RedisEvents()


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.update(
        REDIS_EVENTS_URL=os.environ.get("REDIS_EVENTS_URL", "redis://localhost:6379/0"),
        REDIS_EVENTS_PREFIX=os.environ.get("REDIS_EVENTS_PREFIX", "events:"),
    )
    events.init_app(app)

    @app.get("/")
    @app.get("/rooms/<room>")
    def index(room: str = "lobby") -> str:
        return render_template("index.html", room=room)

    @app.get("/rooms/<room>/stream")
    def stream(room: str) -> Response:
        """Stream a room's messages and presence to the user named in `?name=`."""
        name = _text(request.args.get("name"), 24)

        def tell(what: str) -> None:
            # Transient, because a user who enters later needs no old presence.
            events.emit(f"chat:room:{room}", {"name": name}, event=what, persist=False)

        def on_open(event: Any) -> None:
            tell("back" if event.last_event_id else "joined")

        def on_close(event: Any, reason: str) -> None:
            # For these reasons the browser is asked to reconnect, so its user stays in the room.
            if reason not in ("draining", "max age"):
                tell("left")

        # Without `escape`, the room `*` would be a pattern that receives all rooms.
        channel = f"chat:room:{escape(room)}"
        return events.stream_response(channel, backlog=50, on_open=on_open, on_close=on_close)

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

    @app.errorhandler(ChannelError)
    def no_room(error: ChannelError) -> Any:
        # The room's name comes from the URL, and may hold a line end.
        return {"error": "A room cannot have this name."}, 400

    @app.errorhandler(BrokerError)
    def away(error: BrokerError) -> Any:
        # The error's text may describe our Redis, so it goes into the log and not to the client.
        app.logger.error("%s", error)
        return {"error": "Redis is away, try again later."}, 503

    return app


def _text(value: Any, most: int) -> str:
    if not isinstance(value, str) or not 0 < len(value.strip()) <= most:
        abort(400, f"A text of 1 to {most} characters is needed.")
    return value.strip()
