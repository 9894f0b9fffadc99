"""The demo's Flask application: live figures, a chat and jobs share one EventSource."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

from flask import Flask, abort, jsonify, render_template, request

from flask_redis_events import BrokerError, RedisEvents, ServerSentEvent
from flask_redis_events.streams.callbacks import StreamEvent

from .jobs import WANTED, tell

events = RedisEvents()

#: The most characters of a name and of a text in the chat.
NAME, TEXT = 24, 500


def create_app() -> Flask:
    """Return the application that gunicorn serves; the launcher has set the environment."""
    app = Flask(__name__)
    app.config["REDIS_EVENTS_URL"] = os.environ["REDIS_EVENTS_URL"]
    app.config["REDIS_EVENTS_PREFIX"] = os.environ["REDIS_EVENTS_PREFIX"]
    # The page reports a silent stream after a few heartbeats, so these are frequent.
    app.config["REDIS_EVENTS_HEARTBEAT"] = 5
    app.config["MAX_CONTENT_LENGTH"] = 16 * 1024
    events.init_app(app)
    _add_pages(app)
    _add_streams(app)
    _add_actions(app)
    return app


def _add_pages(app: Flask) -> None:
    @app.get("/")
    def index() -> str:
        return render_template("index.html")

    @app.get("/jobs/<uuid:job_id>")
    def job(job_id: UUID) -> Any:
        if not events.history(f"job:{job_id}:progress", limit=1):
            # A stream of an unknown job would stay open and never send an event.
            return render_template("no-job.html"), 404
        return render_template("job.html", job_id=job_id)

    @app.get("/history")
    def history() -> Any:
        """Return the events that a page shows when it opens: a minute of figures, chat and jobs."""
        figures = events.history("metrics", limit=60)
        lines = events.history("chat", limit=50)
        jobs = events.history("jobs", limit=100)
        # The lists are read one after another, and the stream begins where the first one ended.
        # So the stream has every event that is emitted in between.  A later list may have it, too,
        # and the page skips an id that it has shown already.
        newest = next((found[-1].id for found in (figures, lines, jobs) if found), None)
        return jsonify(
            after=newest,
            metrics=[[event.id, event.data] for event in figures],
            chat=[[event.id, event.data] for event in lines],
            job=[[event.id, event.data] for event in jobs],
        )


def _add_streams(app: Flask) -> None:
    @app.get("/events")
    @events.stream("metrics", "chat", "jobs", on_open=_say_who)
    def stream() -> None:
        """Send all events of the page; their names tell figures, chat and jobs apart."""

    @app.get("/jobs/<uuid:job_id>/events")
    @events.stream("job:{job_id}:progress", backlog=1)
    def watch(job_id: UUID) -> Callable[..., Any]:
        def on_message(channel: str, message: Any, event: StreamEvent) -> Any:
            if message["status"] == "completed":
                event.message(message)
                return False  # ends the stream for good, so the browser does not reconnect
            return message

        return on_message


def _say_who(event: StreamEvent) -> ServerSentEvent:
    """Begin each stream with its worker's process id, which the page shows."""
    return ServerSentEvent({"pid": os.getpid()}, event="worker")


def _add_actions(app: Flask) -> None:
    @app.post("/chat")
    def say() -> Any:
        line = request.get_json()
        name, text = _text(line, "name", NAME), _text(line, "text", TEXT)
        events.emit("chat", {"name": name, "text": text, "at": time.time()}, event="chat")
        return "", 204

    @app.post("/jobs")
    def start() -> Any:
        job_id = str(uuid4())
        # Emitted before the answer, so that the job's page exists when its link is shown.
        tell(events.emit_many, job_id, 0)
        events.emit(WANTED, job_id)
        return {"id": job_id}, 202

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
