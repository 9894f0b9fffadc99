"""Jobs run outside the web workers, so that they finish even if a worker ends.

This module stands in for Celery or the like.  The application requests a job by emitting its id on
`WANTED`, and the job reports its progress with events.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

from flask import Flask

from flask_redis_events import BrokerError, RedisEvents, ServerSentEvent
from flask_redis_events.signals import broker_connected

WANTED = "jobs:wanted"
STEPS = ("Fetching", "Unpacking", "Counting", "Sorting", "Plotting", "Writing the report")

EmitMany = Callable[[list[tuple[str, Any]]], object]


def tell(emit_many: EmitMany, job_id: str, percent: int) -> None:
    """Report the progress of a job, on the channel of all jobs and on its own."""
    step = STEPS[min(percent * len(STEPS) // 100, len(STEPS) - 1)]
    status = "completed" if percent == 100 else "running"
    progress = {"id": job_id, "percent": percent, "status": status, "step": step}
    emit_many(
        [
            ("jobs", ServerSentEvent(progress, event="job")),
            (f"job:{job_id}:progress", progress),
        ]
    )


def serve(url: str, prefix: str, emit_many: EmitMany) -> None:
    """Run each requested job in a thread; return once no further request can be missed."""
    app = Flask(__name__)
    app.config.update(REDIS_EVENTS_URL=url, REDIS_EVENTS_PREFIX=prefix)
    events = RedisEvents(app)
    listening = threading.Event()

    @events.on(WANTED)
    def begin(channel: str, job_id: Any) -> None:
        threading.Thread(target=_work, args=(emit_many, job_id), daemon=True).start()

    def connected(sender: object, **what: object) -> None:
        listening.set()

    broker_connected.connect(connected)
    with app.app_context():
        events.start()
    listening.wait()


def _work(emit_many: EmitMany, job_id: str) -> None:
    for percent in range(4, 101, 4):
        time.sleep(random.uniform(0.05, 0.3))
        told = False
        while not told:
            try:
                tell(emit_many, job_id, percent)
                told = True
            except BrokerError:
                # Redis is away.  The job waits, because its page needs the last event.
                time.sleep(1)
