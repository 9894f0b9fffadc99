"""The question's form, the page of each answer, its stream, and its stop button."""

from __future__ import annotations

import secrets
from typing import Any

from flask import Blueprint, abort, current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from rq import Queue
from rq.exceptions import NoSuchJobError
from rq.job import Job

from .answers import KEPT, answer, channel, events

assistant = Blueprint("assistant", __name__)

#: Questions that the page offers, whose words the chain knows.
IDEAS = ("Where does the river begin?", "Who is on the bridge?", "Is it the same water?")


@assistant.get("/")
def index() -> str:
    return render_template("index.html", ideas=IDEAS)


@assistant.post("/answers")
def ask() -> ResponseReturnValue:
    """Leave the question to a worker, and go to the page of its answer."""
    question = request.form.get("question", "").strip()
    if not 0 < len(question) <= 500:
        abort(400, "A question has 1 to 500 characters.")
    # An id for each answer, so that a stop and a stream can mean no other one.  Who knows it may
    # see the answer and stop it: it is a secret that its owner may share.
    id = secrets.token_urlsafe(12)
    _queue().enqueue(answer, id, question, job_id=id, result_ttl=KEPT, failure_ttl=KEPT)
    return redirect(url_for("assistant.show", id=id), 303)


@assistant.get("/answers/<id>")
def show(id: str) -> str:
    return render_template("answer.html", id=id, question=_question(id))


@assistant.get("/answers/<id>/stream")
@events.stream("answer:{id}", backlog="all")
def stream(id: str) -> None:
    """Stream all of the answer so far, then each word, then the end."""
    _question(id)


@assistant.post("/answers/<id>/stop")
def stop(id: str) -> dict[str, Any]:
    """Ask the worker to stop, also if the question still waits for one."""
    _question(id)
    return {"stopping": events.request_stop(channel(id))}


def _question(id: str) -> str:
    queue = _queue()
    try:
        job = Job.fetch(id, queue.connection)
    except (NoSuchJobError, ValueError):  # ValueError: no id can look like this
        job = None
    # The jobs of all queues have their ids in common.
    if job is None or job.origin != queue.name:
        abort(404, "There is no such answer.")
    return str(job.args[1])


def _queue() -> Queue:
    queue: Queue = current_app.extensions["queue"]
    return queue
