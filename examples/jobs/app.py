"""Jobs: a stream shows the progress of a job, and ends when the job is done."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

from flask import Flask, render_template, url_for

from flask_redis_events import BrokerError, RedisEvents

events = RedisEvents()
FINAL = ("completed", "failed")
STEP_SECONDS = 0.2


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.update(
        REDIS_EVENTS_URL=os.environ.get("REDIS_EVENTS_URL", "redis://localhost:6379/0"),
        REDIS_EVENTS_PREFIX=os.environ.get("REDIS_EVENTS_PREFIX", "events:"),
    )
    events.init_app(app)

    @app.get("/")
    def index() -> str:
        return render_template("index.html")

    @app.post("/jobs")
    def start() -> Any:
        job_id = secrets.token_hex(4)
        # The first event comes before the job, so that no job starts while Redis is away.
        emit(job_id, "running", 0, "waiting")
        # In production Celery or the like runs the job, and emits with an `Emitter`.
        threading.Thread(target=work, args=(app, job_id), daemon=True).start()
        return {"id": job_id, "stream": url_for("progress", job_id=job_id)}, 202

    @app.get("/jobs/<job_id>/stream")
    @events.stream("job:{job_id}:progress", backlog=1)
    def progress(job_id: str) -> Callable[..., Any]:
        """Stream the last known step, also to a page that opens late, and then each new one."""

        def on_message(channel: str, message: Any, event: Any) -> Any:
            if message["status"] in FINAL:
                event.message({**message, "percent": 100})
                return False  # ends the stream for good, so the browser does not reconnect
            return message

        return on_message

    @app.errorhandler(BrokerError)
    def away(error: BrokerError) -> Any:
        # The error's text may describe our Redis, so it goes into the log and not to the client.
        app.logger.error("%s", error)
        return {"error": "Redis is away, try again later."}, 503

    return app


def emit(job_id: str, status: str, percent: int, message: str) -> None:
    progress = {"status": status, "percent": percent, "message": message}
    events.emit(f"job:{job_id}:progress", progress)


def work(app: Flask, job_id: str) -> None:
    """Do something in ten steps."""

    def report(status: str, percent: int, message: str) -> None:
        while True:
            try:
                with app.app_context():
                    return emit(job_id, status, percent, message)
            except BrokerError as error:
                # The job waits for Redis, because its page needs the last event.
                app.logger.warning("Job %s: %s", job_id, error)
                time.sleep(1)

    try:
        for step in range(10):
            report("running", step * 10, f"step {step + 1} of 10")
            time.sleep(STEP_SECONDS)
        report("completed", 100, "done")
    except Exception as error:
        report("failed", 100, str(error))
        raise
