"""Jobs run outside the web workers, so that they finish even if a worker ends.

This module stands in for Celery or the like.  The application requests a job by emitting it on
`WANTED`, and the job reports its progress with events.
"""

from __future__ import annotations

import random
import time
from typing import Any
from uuid import uuid4

from flask_redis_events import ServerSentEvent

from .outbox import Outbox, Pair

WANTED = "jobs:wanted"
STEPS = ("Fetching", "Unpacking", "Counting", "Sorting", "Plotting", "Writing the report")
COLOURS = ("Amber", "Azure", "Coral", "Golden", "Green", "Indigo", "Scarlet", "Silver", "White")
BIRDS = ("crane", "finch", "heron", "kestrel", "lark", "owl", "plover", "raven", "swift", "wren")


def new() -> dict[str, str]:
    """Make a job: its id, and a name for people."""
    return {"id": str(uuid4()), "name": f"{random.choice(COLOURS)} {random.choice(BIRDS)}"}


def progress(job: dict[str, str], percent: int) -> list[Pair]:
    """Return the events of a job's progress: on the channel of all jobs, and on its own."""
    step = STEPS[min(percent * len(STEPS) // 100, len(STEPS) - 1)]
    status = "completed" if percent == 100 else "running"
    data: dict[str, Any] = {**job, "percent": percent, "status": status, "step": step}
    return [("jobs", ServerSentEvent(data, event="job")), (f"job:{job['id']}:progress", data)]


def work(job: dict[str, str], outbox: Outbox) -> None:
    """Do a job, and report its progress."""
    for percent in range(4, 101, 4):
        time.sleep(random.uniform(0.05, 0.3))
        outbox.put(progress(job, percent))
