"""Notifications: each user has a private stream, which the view refuses to others."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from flask import Flask, abort, redirect, render_template, request, session, url_for

from flask_redis_events import BrokerError, ChannelError, RedisEvents

events = RedisEvents()


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=_secret_key(),
        REDIS_EVENTS_URL=os.environ.get("REDIS_EVENTS_URL", "redis://localhost:6379/0"),
        REDIS_EVENTS_PREFIX=os.environ.get("REDIS_EVENTS_PREFIX", "events:"),
    )
    events.init_app(app)

    @app.get("/")
    def index() -> str:
        return render_template("index.html", user=session.get("user"))

    @app.post("/login")
    def login() -> Any:
        # This stands in for a real login; it believes every name.
        session["user"] = request.form["user"].strip() or abort(400, "A name is needed.")
        return redirect(url_for("index"))

    @app.get("/stream/<user>")
    @events.stream("user:{user}:notifications", backlog=20)
    def stream(user: str) -> Callable[..., Any]:
        """Refuse other users; this runs before the stream sends its first byte."""
        if "user" not in session:
            abort(401)
        if session["user"] != user:
            abort(403)

        def on_message(channel: str, message: Any, event: Any) -> Any:
            return {**message, "server_time": time.time()}

        return on_message

    @app.post("/notify/<user>")
    def notify(user: str) -> Any:
        """Send a notification; every other part of the application can emit it the same way."""
        sender = session.get("user") or abort(401)
        body = request.get_json()
        text = body.get("text") if isinstance(body, dict) else None
        if not isinstance(text, str) or not text.strip() or len(text) > 500:
            abort(400, "text must be a text of 1 to 500 characters.")
        events.emit(f"user:{user}:notifications", {"from": sender, "text": text})
        return "", 204

    @app.errorhandler(ChannelError)
    def nobody(error: ChannelError) -> Any:
        # The user's name comes from the URL, and may hold a line end.
        return {"error": "No user can have this name."}, 400

    @app.errorhandler(BrokerError)
    def away(error: BrokerError) -> Any:
        # The error's text may describe our Redis, so it goes into the log and not to the client.
        app.logger.error("%s", error)
        return {"error": "Redis is away, try again later."}, 503

    return app


def _secret_key() -> str:
    # A client that knows the key can be any user, so it has no default.  All workers need the same.
    key = os.environ.get("SECRET_KEY")
    if not key:
        raise RuntimeError(
            "Set SECRET_KEY to the output of"
            " python -c 'import secrets; print(secrets.token_hex())'."
        )
    return key
