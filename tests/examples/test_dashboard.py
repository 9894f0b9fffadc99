"""The example `dashboard`, without its pages."""

from __future__ import annotations

import itertools
import json
import time

import pytest
from flask import Flask

from examples.dashboard.figures import KEPT, METRICS, channel, events, measure
from flask_redis_events.testing import read_events
from tests.support.processes import free_port

from .conftest import MakeApp


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    return make_app("dashboard")


def emit(app: Flask, metric: str, *values: float) -> None:
    with app.app_context():
        for value in values:
            events.emit(channel(metric), {"metric": metric, "t": value, "values": [value]})


def test_this_machine_is_measured():
    """Each second there is a value for each series of each metric, within its bounds."""
    started = time.monotonic()
    figures = list(itertools.islice(measure(), 2))

    assert 1.9 < time.monotonic() - started < 5
    for one in figures:
        assert one.keys() == METRICS.keys()
        for name, metric in METRICS.items():
            assert len(one[name]) == len(metric.series)
            assert all(0 <= value <= (metric.most or float("inf")) for value in one[name])
    # Half of this machine's memory is not used by mistake of a unit.
    assert figures[0]["memory"][0] > 1024 * 1024


def test_a_page_begins_with_what_is_kept(app: Flask):
    """A stream has the last two minutes of the chosen metrics, then what follows, and no others."""
    emit(app, "cpu", *range(KEPT + 10))
    emit(app, "load", 1)
    emit(app, "disk", 2)
    client = app.test_client()
    assert client.post("/marks", json={"text": " Release "}).status_code == 204
    response = client.get("/stream?metric=cpu&metric=load", buffered=False)
    emit(app, "disk", 3)
    emit(app, "load", 4)
    got = read_events(response, KEPT + 3)

    marks = [json.loads(event.data) for event in got if event.event == "mark"]
    values = [json.loads(event.data) for event in got if event.event == "message"]
    assert [mark["text"] for mark in marks] == ["Release"]
    assert [one["t"] for one in values if one["metric"] == "cpu"] == list(range(10, KEPT + 10))
    assert [one["t"] for one in values if one["metric"] == "load"] == [1, 4]
    assert {one["metric"] for one in values} == {"cpu", "load"}


@pytest.mark.parametrize("query", ["", "?metric=", "?metric=*", "?metric=cpu&metric=marks"])
def test_only_a_metric_can_be_chosen(app: Flask, query: str):
    """A client listens to no channel that is not a metric's."""
    assert app.test_client().get(f"/stream{query}").status_code == 400


@pytest.mark.parametrize("body", [[], {}, {"text": " "}, {"text": 7}, {"text": "x" * 41}])
def test_a_mark_is_a_short_text(app: Flask, body: object):
    """Anything else is refused."""
    assert app.test_client().post("/marks", json=body).status_code == 400


def test_the_address_says_what_is_shown(app: Flask):
    """A page shows the metrics of its query, and without one the first four."""
    client = app.test_client()

    assert client.get("/?metric=load").text.count(" checked") == 1
    assert client.get("/").text.count(" checked") == 4
    assert client.get("/?metric=unknown").status_code == 400


def test_without_redis_the_answer_is_503(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch):
    """The 503 is JSON, and does not reveal the address of Redis."""
    monkeypatch.setattr("flask_redis_events.broker.commands.PATIENCE", 0.1)
    app = make_app("dashboard", REDIS_EVENTS_URL=f"redis://127.0.0.1:{free_port()}/0")

    response = app.test_client().post("/marks", json={"text": "Release"})

    assert response.status_code == 503
    assert response.json == {"error": "Redis is away, try again later."}
