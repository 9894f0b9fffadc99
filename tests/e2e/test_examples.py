"""The four example applications keep what they promise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest

from tests.processes import ROOT
from tests.servers import Gunicorn, RedisServer
from tests.sse_client import EventSource, SSEClient
from tests.waiting import wait_until

EXAMPLES = ROOT / "examples"
Run = Callable[[str], Gunicorn]


@pytest.fixture
def run(redis_server: RedisServer, prefix: str) -> Iterator[Run]:
    """Return a function that starts an example with two workers."""
    with ExitStack() as running:

        def run(name: str) -> Gunicorn:
            env = {
                "EXAMPLE_REDIS_EVENTS_URL": redis_server.url,
                "EXAMPLE_REDIS_EVENTS_PREFIX": json.dumps(prefix),
                "EXAMPLE_STEP_SECONDS": "0.05",
            }
            app = f"examples.{name}.app:create_app()"
            return running.enter_context(Gunicorn(app, env=env))

        yield run


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=10, follow_redirects=True) as client:
        yield client


def test_notifications_are_private(
    run: Run, http: httpx.Client, redis_server: RedisServer, prefix: str
):
    """Others are refused; what is sent from a page and from a script arrives."""
    url = run("notifications").url
    assert http.get(f"{url}/stream/ada").status_code == 401
    assert http.post(f"{url}/login", data={"user": "ada"}).status_code == 200
    assert http.get(f"{url}/stream/bob").status_code == 403
    cookie = "; ".join(f"{name}={value}" for name, value in http.cookies.items())
    with SSEClient(f"{url}/stream/ada", headers={"Cookie": cookie}) as client:
        assert client.next().event == "ready"
        assert http.post(f"{url}/notify/ada", json={"text": "hello"}).status_code == 204
        assert http.post(f"{url}/notify/ada", json={"text": 7}).status_code == 400
        got = client.next_data()
        assert (got["from"], got["text"]) == ("ada", "hello")
        assert got["server_time"] > 0

        env = {**os.environ, "REDIS_EVENTS_URL": redis_server.url, "REDIS_EVENTS_PREFIX": prefix}
        script = [sys.executable, str(EXAMPLES / "notifications" / "notify.py"), "ada", "from cron"]
        subprocess.run(script, env=env, check=True, timeout=20)
        assert client.next_data()["text"] == "from cron"


def test_chat_shows_messages_and_presence(run: Run, http: httpx.Client):
    """Who comes in sees the last messages; who is there sees who comes and goes."""
    url = run("chat").url
    room = f"{url}/rooms/lobby"
    for number in range(3):
        assert http.post(room, json={"name": "ada", "text": f"{number}"}).status_code == 200
    assert http.post(room, json={"name": "ada", "text": ""}).status_code == 400
    with SSEClient(f"{room}/stream?name=ada") as ada:
        assert [ada.next_data(event="said")["text"] for _ in range(3)] == ["0", "1", "2"]
        with SSEClient(f"{room}/stream?name=bob"):
            joined = ada.until(lambda e: e.event == "joined" and "bob" in e.data)
            assert json.loads(joined.data) == {"name": "bob"}
        assert ada.until(lambda e: e.event == "left" and "bob" in e.data)
        http.post(f"{url}/rooms/other", json={"name": "eve", "text": "elsewhere"})
        http.post(room, json={"name": "ada", "text": "<b>"})
        assert ada.next_data(event="said")["text"] == "<b>"


def test_a_job_ends_its_stream(run: Run, http: httpx.Client):
    """Progress, a last message with 100 percent, and no reconnection."""
    url = run("jobs").url
    job = http.post(f"{url}/jobs").json()
    with EventSource(url + job["stream"]) as source:
        assert source.wait_stopped(20) == 204
        assert source.data[-1] == {"status": "completed", "percent": 100, "message": "done"}
        percents = [message["percent"] for message in source.data]
        assert percents == sorted(percents)
    with EventSource(url + job["stream"]) as late:
        assert late.wait_stopped(10) == 204
        assert [message["status"] for message in late.data] == ["completed"]


def test_the_dashboard_sends_less(run: Run, http: httpx.Client):
    """Named events; at most one a second; ten at a time; only what matters; once for all."""
    url = run("dashboard").url
    streams = ("/stream", "/stream/slow", "/stream/batches", "/stream/urgent", "/stream/clock")
    with ExitStack() as stack:
        named, slow, batches, urgent, clock = (
            stack.enter_context(SSEClient(url + path)) for path in streams
        )
        for client in (named, slow, batches, urgent, clock):
            assert client.next().event == "ready"
        for number in range(10):
            body = {"value": number, "priority": 9 if number == 9 else 0}
            assert http.post(f"{url}/metrics/orders", json=body).status_code == 200
        assert http.post(f"{url}/metrics/unknown", json={"value": 1}).status_code == 400

        assert [named.next_data(event="orders")["value"] for _ in range(10)] == list(range(10))
        assert slow.next_data()["value"] == 0
        batch = batches.next_data(8)
        assert batch["count"] == 10
        assert [one["value"] for one in batch["batch"]] == list(range(10))
        assert urgent.next_data()["value"] == 9
        assert clock.next_data()["streams"] >= 1
        assert len([e for e in slow.events if e.event == "message"]) <= 3


@pytest.mark.parametrize("name", ["notifications", "chat", "jobs", "dashboard"])
def test_pages_and_their_files_are_there(run: Run, http: httpx.Client, name: str):
    """The page, its script and its style are served."""
    url = run(name).url
    wait_until(lambda: http.get(url).status_code == 200)
    for file in ("app.js", "style.css"):
        assert http.get(f"{url}/static/{file}").status_code == 200
