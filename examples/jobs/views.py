"""The list of jobs, the page of each, and their streams."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from flask import Blueprint, abort, current_app, render_template
from rq import Queue
from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.utils import as_text

from examples.layout import posted

from .hashing import KEPT, channel, events, hash_file

jobs = Blueprint("jobs", __name__)

SIZES = (64, 256, 1024)
#: How many jobs the list has.
NEWEST = 20


@jobs.get("/")
def index() -> str:
    return render_template("index.html", sizes=SIZES, **_state())


@jobs.get("/state")
def state() -> dict[str, Any]:
    """Return what the list shows, for a page whose stream has lost events."""
    state = _state()
    return {**state, "jobs": [render_template("_job.html", job=job) for job in state["jobs"]]}


def _state() -> dict[str, Any]:
    # The position comes before all that is read, so what happens meanwhile comes by the stream.
    position = events.position()
    queue = _queue()
    ids = [as_text(id) for id in queue.connection.lrange(_list(queue), 0, NEWEST - 1)]
    found = Job.fetch_many(ids, queue.connection)
    return {"position": position, "jobs": [_shown(job) for job in found if job]}


@jobs.post("/jobs")
def start() -> Any:
    wanted = posted()
    megabytes = wanted.get("megabytes")
    if not isinstance(megabytes, int) or megabytes not in SIZES:
        abort(400, f"A file has {', '.join(map(str, SIZES))} MB.")
    id, queue = secrets.token_hex(6), _queue()
    job = queue.create_job(
        hash_file,
        args=(id, megabytes),
        kwargs={"broken": bool(wanted.get("broken"))},
        job_id=id,
        result_ttl=KEPT,
        failure_ttl=KEPT,
        timeout=600,
    )
    queue.connection.lpush(_list(queue), id)
    queue.connection.ltrim(_list(queue), 0, NEWEST - 1)
    # Emitted before the job may begin, so that every list has it when its first step comes.
    shown = {"id": id, "megabytes": megabytes, "at": job.created_at, "state": "pending"}
    html = render_template("_job.html", job=shown)
    events.emit("jobs", {"html": html}, event="new")
    queue.enqueue_job(job)
    return {"id": id}, 202


@jobs.get("/stream")
@events.stream("jobs", "job:*", shared=True)
def stream() -> Callable[..., Any]:
    """Stream new jobs and all that happens to them; each event is made once for all viewers."""

    def on_message(channel: str, message: Any, event: Any) -> Any:
        _, _, id = channel.partition(":")
        return {"id": id, **message} if id else message

    return on_message


@jobs.get("/jobs/<id>")
def job(id: str) -> str:
    return render_template("job.html", job=_shown(_find(id)))


@jobs.get("/jobs/<id>/stream")
@events.stream("job:{id}", backlog="all")
def progress(id: str) -> None:
    """Stream all steps of the job so far, then each new one, then the end."""
    _find(id)


@jobs.post("/jobs/<id>/stop")
def stop(id: str) -> dict[str, Any]:
    """Ask the job to stop, also if it still waits for a worker."""
    _find(id)
    return {"stopping": events.request_stop(channel(id))}


def _shown(job: Job) -> dict[str, Any]:
    """Return what a page shows of a job: what its last events say."""
    shown = {"id": job.id, "megabytes": job.args[1], "at": job.created_at}
    for event in events.history(channel(job.id), limit=3):
        shown.update(event.data)
    if "state" not in shown:
        shown["state"] = events.run_status(channel(job.id))
    return shown


def _find(id: str) -> Job:
    queue = _queue()
    try:
        job = Job.fetch(id, queue.connection)
    except (NoSuchJobError, ValueError):  # ValueError: no id can look like this
        job = None
    # The jobs of all queues have their ids in common.
    if job is None or job.origin != queue.name:
        abort(404, "There is no such job.")
    return job


def _queue() -> Queue:
    queue: Queue = current_app.extensions["queue"]
    return queue


def _list(queue: Queue) -> str:
    return f"{queue.name}list"
