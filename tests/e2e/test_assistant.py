"""The example `assistant`, without its pages: RQ's worker answers, whoever looks on."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from examples.assistant.app import create_app
from tests.examples.staging import environment, serve
from tests.examples.staging import worker as worker_of
from tests.support.processes import Process, free_port
from tests.support.servers import Gunicorn, RedisServer
from tests.support.sse_client import EventSource, SSEClient


@pytest.fixture
def env(redis_server: RedisServer, prefix: str, tmp_path: Path) -> dict[str, str]:
    return environment("assistant", redis_server.url, prefix, tmp_path)


@pytest.fixture
def server(env: dict[str, str]) -> Iterator[Gunicorn]:
    with serve("assistant", env) as server:
        yield server


@pytest.fixture
def http(server: Gunicorn) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=20) as http:
        yield http


@pytest.fixture
def worker(env: dict[str, str], tmp_path: Path) -> Iterator[Process]:
    """RQ's worker, not started yet."""
    process = worker_of("assistant", env, tmp_path)
    yield process
    print(process.log)
    process.end(signal.SIGKILL)


def ask(http: httpx.Client) -> str:
    """Ask, and return the path of the answer's page."""
    asked = http.post("/answers", data={"question": "river ?"})
    assert asked.status_code == 303
    return asked.headers["Location"]


def watch(http: httpx.Client, page: str) -> EventSource:
    return EventSource(str(http.base_url.join(f"{page}/stream")))


def text_of(source: EventSource) -> str:
    return "".join(source.data)


def state_of(source: EventSource) -> str:
    [end] = [json.loads(event.data) for event in source.events if event.event == "end"]
    return str(end["state"])


def test_every_viewer_has_the_whole_answer(http: httpx.Client, worker: Process):
    """One from before the start, one that comes in the midst after a reload, one after the end."""
    worker.start()
    page = ask(http)
    with watch(http, page) as first:
        first.wait_for(lambda events: len(events) > 10, timeout=40)
        with SSEClient(str(http.base_url.join(f"{page}/stream"))) as tab:
            tab.until(lambda event: event.event == "message")
        with watch(http, page) as second:
            for source in (first, second):
                source.wait_stopped(40)
            with watch(http, page) as late:
                late.wait_stopped(10)

                assert len(text_of(first).split()) == 200
                assert text_of(first).startswith("river ")
                assert text_of(first) == text_of(second) == text_of(late)
                assert {state_of(one) for one in (first, second, late)} == {"finished"}
                assert len(late.events) == 3  # ready, all of the answer as one event, end


def test_the_stop_button_stops(http: httpx.Client, worker: Process):
    """Whether the answer has begun or still waits for a worker."""
    waiting = ask(http)
    assert http.post(f"{waiting}/stop").json() == {"stopping": True}
    running = ask(http)
    with watch(http, waiting) as one, watch(http, running) as other:
        worker.start()
        other.wait_for(lambda events: any(e.event == "message" for e in events), timeout=40)
        http.post(f"{running}/stop")
        for source in (one, other):
            source.wait_stopped(20)

        assert len(text_of(one).split()) == 1
        assert len(text_of(other).split()) < 200
        assert state_of(one) == state_of(other) == "stopped"
    assert http.post(f"{running}/stop").json() == {"stopping": False}


def test_no_worker_of_gunicorn_is_missed(http: httpx.Client, server: Gunicorn, worker: Process):
    """An answer comes whole through `kill -9` of all web workers."""
    worker.start()
    with watch(http, ask(http)) as source:
        source.wait_for(lambda events: len(events) > 10, timeout=40)
        for pid in server.worker_pids():
            server.kill_worker(pid)
        source.wait_stopped(40)

        assert len(text_of(source).split()) == 200
        assert state_of(source) == "finished"
        assert source.connections > 1


def test_unknown_answers_are_404(http: httpx.Client):
    """No stream stays open for an answer that there is not."""
    for path in ("/answers/nonexistent", "/answers/nonexistent/stream", "/answers/*/stream"):
        assert http.get(path).status_code == 404
    assert http.post("/answers/nonexistent/stop").status_code == 404


def test_a_question_must_be_one(http: httpx.Client):
    """What is empty or too long is asked of nobody."""
    for question in ("", "  ", "x" * 501):
        assert http.post("/answers", data={"question": question}).status_code == 400


def test_without_redis_the_answer_is_503():
    """The 503 is JSON for a script, and does not reveal the address of Redis."""
    client = create_app({"REDIS_EVENTS_URL": f"redis://127.0.0.1:{free_port()}/0"}).test_client()

    response = client.post("/answers", data={"question": "river"})

    assert response.status_code == 503
    assert response.json == {"error": "Redis is away, try again later."}
