"""The page, its stream of the metrics that it has chosen, and marks on the time axis."""

from __future__ import annotations

import time
from dataclasses import asdict

from flask import Blueprint, Response, abort, render_template, request
from flask.typing import ResponseReturnValue

from examples.layout import posted_text

from .figures import KEPT, METRICS, channel, events

dashboard = Blueprint("dashboard", __name__)

#: Shown to who has not chosen.
DEFAULT = ("cpu", "memory", "network", "disk")
#: How many marks a page that is opened may have.
MARKS = 20


@dashboard.get("/")
def index() -> str:
    metrics = {name: asdict(metric) for name, metric in METRICS.items()}
    return render_template("index.html", metrics=metrics, chosen=_chosen() or DEFAULT, kept=KEPT)


@dashboard.get("/stream")
def stream() -> Response:
    """Stream the metrics of `?metric=cpu&metric=load`, the last two minutes of them first."""
    chosen = _chosen()
    if not chosen:
        abort(400, f"Choose one or more metrics: {', '.join(METRICS)}.")
    channels = ["marks", *map(channel, chosen)]
    return events.stream_response(channels, backlog=KEPT * len(chosen) + MARKS)


def _chosen() -> list[str]:
    """Return the metrics that the request names; it cannot name a channel that is none of them."""
    chosen = request.args.getlist("metric")
    if not METRICS.keys() >= set(chosen):
        abort(400, f"There are the metrics {', '.join(METRICS)}.")
    return [name for name in METRICS if name in chosen]


@dashboard.post("/marks")
def mark() -> ResponseReturnValue:
    """Mark this moment in all pages: a release, an experiment."""
    text = posted_text("text", called="A mark", most=40)
    events.emit("marks", {"t": time.time(), "text": text}, event="mark")
    return "", 204
