"""The demo's Flask application: numbers, figures, a chat and jobs share one stream."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from flask import Flask, abort, render_template, request

from flask_redis_events import BrokerError, RedisEvents, ServerSentEvent
from flask_redis_events.streams.callbacks import StreamEvent

from . import jobs, numbers
from .config import config
from .faults import add_faults
from .permission import OF_REDIS, allowed

#: The most characters of a name and of a text in the chat.
NAME, TEXT = 24, 500


def create_app() -> Flask:
    """Return the application that gunicorn serves; the launcher has set the environment."""
    app = Flask(__name__)
    app.config.update(config())
    app.config["MAX_CONTENT_LENGTH"] = 16 * 1024
    events = RedisEvents(app)
    _add_pages(app, events)
    _add_streams(app, events)
    _add_actions(app, events)
    add_faults(app, events)
    return app


def _add_pages(app: Flask, events: RedisEvents) -> None:
    @app.get("/")
    def index() -> str:
        faults = allowed()
        foreign_redis = bool(faults) and not set(OF_REDIS) & set(faults)
        return render_template("index.html", faults=faults, foreign_redis=foreign_redis)

    @app.get("/jobs/<uuid:job_id>")
    def job(job_id: UUID) -> Any:
        found = events.history(f"job:{job_id}:progress", limit=1)
        # A stream of an unknown job would stay open and never send an event.
        status = 200 if found else 404
        return render_template("job.html", job=found[0].data if found else None), status

    @app.get("/state")
    def state() -> Any:
        """Return what a page shows when it opens: a minute of figures, the chat, the jobs."""
        kept = {"metrics": ("metrics", 60), "chat": ("chat", 50), "job": ("jobs", 100)}
        return {
            name: [[event.id, event.data] for event in events.history(channel, limit=limit)]
            for name, (channel, limit) in kept.items()
        }


def _add_streams(app: Flask, events: RedisEvents) -> None:
    @app.get("/events")
    def stream() -> Any:
        port = int(request.environ.get("REMOTE_PORT", 0))

        def say_who(event: StreamEvent) -> ServerSentEvent:
            """Begin with the connection: the worker's process id, and the client's port."""
            return ServerSentEvent({"pid": os.getpid(), "port": port}, event="worker")

        channels = [numbers.CHANNEL, "metrics", "chat", "jobs"]
        return events.stream_response(channels, on_open=say_who)

    @app.get("/jobs/<uuid:job_id>/events")
    @events.stream("job:{job_id}:progress", backlog=1)
    def watch(job_id: UUID) -> Callable[..., Any]:
        def on_message(channel: str, message: Any, event: StreamEvent) -> Any:
            if message["status"] == "completed":
                event.message(message)
                return False  # ends the stream for good, so the browser does not reconnect
            return message

        return on_message


def _add_actions(app: Flask, events: RedisEvents) -> None:
    @app.post("/chat")
    def say() -> Any:
        line = request.get_json()
        name, text = _text(line, "name", NAME), _text(line, "text", TEXT)
        events.emit("chat", {"name": name, "text": text, "at": time.time()}, event="chat")
        return "", 204

    @app.post("/jobs")
    def start() -> Any:
        request.get_json()  # which a form on another site cannot send
        job = jobs.new()
        # Emitted before the answer, so that the job's page exists when its link is shown.
        events.emit_many([*jobs.progress(job, 0), (jobs.WANTED, job)])
        return job, 202

    @app.errorhandler(BrokerError)
    def away(error: BrokerError) -> Any:
        # The error's text may describe Redis, so it goes into the log and not to the page.
        app.logger.error("%s", error)
        return {"error": "Redis is away, try again later."}, 503


def _text(line: Any, field: str, most: int) -> str:
    value = line.get(field) if isinstance(line, dict) else None
    if not isinstance(value, str) or not value.strip() or len(value) > most:
        abort(400, f"{field} must be a text of 1 to {most} characters.")
    return value.strip()
