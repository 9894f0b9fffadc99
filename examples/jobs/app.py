"""Jobs: progress while one runs, and a stream that ends with it."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

from flask import Flask, render_template, url_for

from flask_redis_events import RedisEvents

events = RedisEvents()
FINAL = ("completed", "failed")


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env("EXAMPLE")
    app.config.setdefault("STEP_SECONDS", 0.3)
    events.init_app(app)

    @app.get("/")
    def index() -> str:
        return render_template("index.html")

    @app.post("/jobs")
    def start() -> Any:
        job_id = secrets.token_hex(4)
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

    return app


def work(app: Flask, job_id: str) -> None:
    """Do something in ten steps."""

    def report(status: str, percent: int, message: str | None = None) -> None:
        progress = {"status": status, "percent": percent, "message": message}
        with app.app_context():
            events.emit(f"job:{job_id}:progress", progress)

    try:
        for step in range(10):
            report("running", step * 10, f"step {step + 1} of 10")
            time.sleep(app.config["STEP_SECONDS"])
        report("completed", 100, "done")
    except Exception as error:
        report("failed", 100, str(error))
        raise
