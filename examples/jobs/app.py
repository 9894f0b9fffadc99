"""Jobs: progress while one runs, and a stream that ends with it."""

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
        # Fails while Redis is away: then there is no job.
        emit(job_id, "running", 0, "waiting")
        # Celery or the like would run this elsewhere, and emit with an `Emitter`.
        threading.Thread(target=work, args=(app, job_id), daemon=True).start()
        return {"id": job_id, "stream": url_for("progress", job_id=job_id)}, 202

    @app.get("/jobs/<job_id>/stream")
    @events.stream("job:{job_id}:progress", backlog=1)
    def progress(job_id: str) -> Callable[..., Any]:
        """Where the job is, then each step; a page that comes late sees the last one, too."""

        def on_message(channel: str, message: Any, event: Any) -> Any:
            if message["status"] in FINAL:
                event.message({**message, "percent": 100})
                return False  # for good: the browser does not come back
            return message

        return on_message

    @app.errorhandler(BrokerError)
    def away(error: BrokerError) -> Any:
        # What it says of our Redis is for the log, and not for the client.
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
                # The job waits, or its page would never see the end.
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
