"""Examples do what their README says; `tests/examples` has the others, and `tests/guests` one."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest

from tests.support.processes import free_port
from tests.support.servers import Gunicorn, RedisServer
from tests.support.sse_client import EventSource, SSEClient
from tests.support.waiting import wait_until

NAMES = ("jobs", "dashboard")
Run = Callable[[str], Gunicorn]


@pytest.fixture
def env(redis_server: RedisServer, prefix: str) -> dict[str, str]:
    """The environment variables of examples/README.md, for the applications and the script."""
    return {
        "REDIS_EVENTS_URL": redis_server.url,
        "REDIS_EVENTS_PREFIX": prefix,
    }


@pytest.fixture
def run(env: dict[str, str]) -> Iterator[Run]:
    """Return a function that starts an example with two workers."""
    with ExitStack() as running:

        def run(name: str) -> Gunicorn:
            app = f"examples.{name}.app:create_app()"
            return running.enter_context(Gunicorn(app, env=env))

        yield run


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=10, follow_redirects=True) as client:
        yield client


def test_a_job_ends_its_stream(run: Run, http: httpx.Client):
    """A job's stream ends with a message of 100 percent, and the client does not reconnect."""
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


def test_the_dashboard_begins_with_what_is_known(run: Run, http: httpx.Client):
    """A new page gets the last figure of each metric; a reconnecting one gets those it missed."""
    url = run("dashboard").url
    for metric, value in (("users", 1), ("orders", 2), ("orders", 3)):
        assert http.post(f"{url}/metrics/{metric}", json={"value": value}).status_code == 200
    with SSEClient(f"{url}/stream") as page:
        position = page.next().last_event_id
        assert page.next_data(event="users")["value"] == 1
        assert page.next_data(event="orders")["value"] == 3
    assert http.post(f"{url}/metrics/orders", json={"value": 4}).status_code == 200
    with SSEClient(f"{url}/stream", last_event_id=position) as page:
        assert page.next_data(event="orders")["value"] == 4


def test_the_dashboard_sends_less(run: Run, http: httpx.Client):
    """The dashboard's streams name, limit, batch, filter and compute their events as documented."""
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
        first = slow.next_data()
        assert (first["metric"], first["value"]) == ("orders", 0)
        batch = batches.next_data(8)
        assert batch["count"] == 10
        assert [one["value"] for one in batch["batch"]] == list(range(10))
        assert {one["metric"] for one in batch["batch"]} == {"orders"}
        last = urgent.next_data()
        assert (last["metric"], last["value"]) == ("orders", 9)
        assert clock.next_data()["streams"] >= 1
        assert len([e for e in slow.events if e.event == "message"]) <= 3


@pytest.mark.parametrize(
    "name, path, body",
    [
        ("jobs", "/jobs", None),
        ("dashboard", "/metrics/users", {"value": 1}),
    ],
    ids=NAMES,
)
def test_without_redis_the_answer_is_503(
    monkeypatch: pytest.MonkeyPatch, name: str, path: str, body: object
):
    """The 503 is JSON, and does not reveal the address of Redis."""
    monkeypatch.setenv("REDIS_EVENTS_URL", f"redis://127.0.0.1:{free_port()}/0")
    monkeypatch.setattr("flask_redis_events.broker.commands.PATIENCE", 0.1)
    client = importlib.import_module(f"examples.{name}.app").create_app().test_client()

    response = client.post(path, json=body)

    assert response.status_code == 503
    assert response.json == {"error": "Redis is away, try again later."}


@pytest.mark.parametrize("name", NAMES)
def test_pages_and_their_files_are_there(run: Run, http: httpx.Client, name: str):
    """The page, its script and its style are served."""
    url = run(name).url
    wait_until(lambda: http.get(url).status_code == 200)
    for file in ("app.js", "style.css"):
        assert http.get(f"{url}/static/{file}").status_code == 200
