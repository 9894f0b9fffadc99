"""The example `assistant`: RQ's worker answers, whoever looks on."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from collections.abc import Iterator

import httpx
import pytest

from tests.support.processes import ROOT, Process, free_port
from tests.support.servers import Gunicorn
from tests.support.sse_client import EventSource, SSEClient


@pytest.fixture
def env(redis_server, prefix) -> dict[str, str]:
    return {
        "REDIS_EVENTS_URL": redis_server.url,
        "REDIS_EVENTS_PREFIX": prefix,
        "RQ_QUEUE": prefix,
        "PYTHONPATH": str(ROOT),
    }


@pytest.fixture
def http(env) -> Iterator[httpx.Client]:
    with Gunicorn("examples.assistant.app:create_app()", env=env) as server:
        with httpx.Client(base_url=server.url, timeout=20) as http:
            yield http


@pytest.fixture
def worker(env, redis_server, tmp_path) -> Iterator[Process]:
    """RQ's worker, not started yet."""
    command = [sys.executable, "-m", "rq.cli", "worker", env["RQ_QUEUE"], "--url", redis_server.url]
    process = Process(command, tmp_path / "worker.log", {**os.environ, **env})
    yield process
    print(process.log)
    process.end(signal.SIGKILL)


def ask(http: httpx.Client) -> dict[str, str]:
    """Ask, and return the answer's id and the URL of its stream."""
    asked = http.post("/answers", json={"question": "river ?"})
    assert asked.status_code == 202
    answer: dict[str, str] = asked.json()
    return {**answer, "stream": str(http.base_url.join(answer["stream"]))}


def text_of(source: EventSource) -> str:
    return "".join(json.loads(event.data) for event in source.events if event.event == "message")


def state_of(source: EventSource) -> str:
    [end] = [json.loads(event.data) for event in source.events if event.event == "end"]
    return str(end["state"])


def test_every_viewer_has_the_whole_answer(http, worker):
    """One from before the start, one that comes in the midst after a reload, one after the end."""
    worker.start()
    answer = ask(http)
    with EventSource(answer["stream"]) as first:
        first.wait_for(lambda events: len(events) > 10, timeout=40)
        with SSEClient(answer["stream"]) as tab:
            tab.until(lambda event: event.event == "message")
        with EventSource(answer["stream"]) as second:
            for source in (first, second):
                source.wait_stopped(40)
            with EventSource(answer["stream"]) as late:
                late.wait_stopped(10)

                assert len(text_of(first).split()) == 200
                assert text_of(first).startswith("river ")
                assert text_of(first) == text_of(second) == text_of(late)
                assert {state_of(one) for one in (first, second, late)} == {"finished"}
                assert len(late.events) == 3  # ready, all of the answer as one event, end


def test_the_stop_button_stops(http, worker):
    """Whether the answer has begun or still waits for a worker."""
    waiting = ask(http)
    assert http.post(f"/answers/{waiting['id']}/stop").json() == {"stopping": True}
    running = ask(http)
    with EventSource(waiting["stream"]) as one, EventSource(running["stream"]) as other:
        worker.start()
        other.wait_for(lambda events: any(e.event == "message" for e in events), timeout=40)
        http.post(f"/answers/{running['id']}/stop")
        for source in (one, other):
            source.wait_stopped(20)

        assert len(text_of(one).split()) == 1
        assert len(text_of(other).split()) < 200
        assert state_of(one) == state_of(other) == "stopped"
    assert http.get(f"/answers/{running['id']}").json() == {"status": "stopped"}
    assert http.post(f"/answers/{running['id']}/stop").json() == {"stopping": False}


def test_pages_and_refusals(http):
    """The page and its files are served; a question must be one."""
    for path in ("/", "/static/app.js", "/static/style.css"):
        assert http.get(path).status_code == 200
    for question in ("", 7, "x" * 501):
        assert http.post("/answers", json={"question": question}).status_code == 400


def test_without_redis_the_answer_is_503(monkeypatch):
    """The 503 is JSON, and does not reveal the address of Redis."""
    monkeypatch.setenv("REDIS_EVENTS_URL", f"redis://127.0.0.1:{free_port()}/0")
    app = importlib.import_module("examples.assistant.app")

    response = app.create_app().test_client().post("/answers", json={"question": "river"})

    assert response.status_code == 503
    assert response.json == {"error": "Redis is away, try again later."}
