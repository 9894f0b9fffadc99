"""The example applications do what their README says; `tests/guests` has the one that needs RQ."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

import httpx
import pytest

from tests.support.processes import ROOT, free_port
from tests.support.servers import Gunicorn, RedisServer
from tests.support.sse_client import EventSource, SSEClient
from tests.support.waiting import wait_until

NAMES = ("notifications", "chat", "jobs", "dashboard")
Run = Callable[[str], Gunicorn]


@pytest.fixture
def env(redis_server: RedisServer, prefix: str) -> dict[str, str]:
    """The environment variables of examples/README.md, for the applications and the script."""
    return {
        "REDIS_EVENTS_URL": redis_server.url,
        "REDIS_EVENTS_PREFIX": prefix,
        "SECRET_KEY": "for these tests",
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


def notify(env: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    script = str(ROOT / "examples" / "notifications" / "notify.py")
    return subprocess.run(
        [sys.executable, script, *arguments],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=20,
    )


def log_in(http: httpx.Client, url: str) -> dict[str, str]:
    """Log in as ada; return the header for her stream."""
    assert http.post(f"{url}/login", data={"user": "ada"}).status_code == 200
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in http.cookies.items())}


def test_notifications_are_private(run: Run, http: httpx.Client):
    """The stream refuses other users and anonymous ones; a notification from a page arrives."""
    url = run("notifications").url
    assert http.get(f"{url}/stream/ada").status_code == 401
    assert http.post(f"{url}/login", data={"user": " "}).status_code == 400
    headers = log_in(http, url)
    assert http.get(f"{url}/stream/bob").status_code == 403
    with SSEClient(f"{url}/stream/ada", headers=headers) as client:
        assert client.next().event == "ready"
        for text in (7, " ", "x" * 501):
            assert http.post(f"{url}/notify/ada", json={"text": text}).status_code == 400
        assert http.post(f"{url}/notify/ada", json={"text": "hello"}).status_code == 204
        got = client.next_data()
        assert (got["from"], got["text"]) == ("ada", "hello")
        assert got["server_time"] > 0


def test_notifications_need_a_secret(monkeypatch: pytest.MonkeyPatch):
    """Without a key of its own the application does not start, and says how to make one."""
    monkeypatch.delenv("SECRET_KEY", raising=False)
    create_app = importlib.import_module("examples.notifications.app").create_app

    for key in (None, ""):
        if key is not None:
            monkeypatch.setenv("SECRET_KEY", key)
        with pytest.raises(RuntimeError, match=r"Set SECRET_KEY to the output of python -c"):
            create_app()


def test_the_script_and_the_application_meet(run: Run, http: httpx.Client, env: dict[str, str]):
    """With the same URL and prefix, the script reaches the application's streams."""
    url = run("notifications").url
    with SSEClient(f"{url}/stream/ada", headers=log_in(http, url)) as client:
        assert client.next().event == "ready"

        assert notify(env, "ada", "from cron").returncode == 0

        got = client.next_data()
        assert (got["from"], got["text"]) == ("a script", "from cron")


def test_the_script_says_how_it_is_used(env: dict[str, str]):
    """Without its two arguments, the script prints its usage and exits with 2."""
    for arguments in ((), ("ada",), ("ada", "one", "two")):
        ran = notify(env, *arguments)

        assert (ran.returncode, ran.stderr) == (2, "usage: python notify.py USER TEXT\n")


def test_chat_shows_messages_and_presence(run: Run, http: httpx.Client):
    """A user who enters gets the last messages; users in the room see others enter and leave."""
    url = run("chat").url
    room = f"{url}/rooms/lobby"
    for number in range(3):
        assert http.post(room, json={"name": "ada", "text": f"{number}"}).status_code == 200
    assert http.post(room, json={"name": "ada", "text": ""}).status_code == 400
    with SSEClient(f"{room}/stream?name=ada") as ada:
        assert [ada.next_data(event="said")["text"] for _ in range(3)] == ["0", "1", "2"]
        with SSEClient(f"{room}/stream?name=bob") as bob:
            joined = ada.until(lambda e: e.event == "joined" and "bob" in e.data)
            assert json.loads(joined.data) == {"name": "bob"}
            position = bob.until(lambda e: e.event == "ready").last_event_id
        assert ada.until(lambda e: e.event == "left" and "bob" in e.data)
        with SSEClient(f"{room}/stream?name=bob", last_event_id=position):
            assert json.loads(ada.next().data) == {"name": "bob"}
            assert ada.events[-1].event == "back"
        assert ada.next().event == "left"
        http.post(f"{url}/rooms/other", json={"name": "eve", "text": "elsewhere"})
        http.post(room, json={"name": "ada", "text": "<b>"})
        assert ada.next_data(event="said")["text"] == "<b>"


def test_a_chat_room_is_no_pattern(run: Run, http: httpx.Client):
    """The room `*` receives no messages of other rooms."""
    url = run("chat").url
    with SSEClient(f"{url}/rooms/*/stream?name=eve") as eve:
        assert eve.next().event == "ready"
        http.post(f"{url}/rooms/lobby", json={"name": "ada", "text": "not for eve"})
        http.post(f"{url}/rooms/*", json={"name": "eve", "text": "for eve"})

        assert json.loads(eve.until(lambda e: e.event == "said").data)["text"] == "for eve"


@pytest.mark.parametrize(
    "name, path", [("chat", "/rooms/a%0Ab"), ("notifications", "/notify/a%0Ab")]
)
def test_a_line_end_in_a_url_is_answered_with_400(
    monkeypatch: pytest.MonkeyPatch, name: str, path: str
):
    """A name that no channel can have is the client's fault."""
    monkeypatch.setenv("REDIS_EVENTS_URL", "memory://")
    monkeypatch.setenv("SECRET_KEY", "for these tests")
    client = importlib.import_module(f"examples.{name}.app").create_app().test_client()
    client.post("/login", data={"user": "ada"})

    assert client.post(path, json={"name": "ada", "text": "hello"}).status_code == 400
    if name == "chat":
        assert client.get(f"{path}/stream?name=ada").status_code == 400


def test_who_is_sent_to_another_worker_has_not_left(
    run: Run, env: dict[str, str], redis_server: RedisServer
):
    """A reload, which moves users to other workers, emits no presence."""
    chat = run("chat")
    with ExitStack() as stack:
        told = stack.enter_context(redis_server.client().pubsub(ignore_subscribe_messages=True))
        told.subscribe(f"{env['REDIS_EVENTS_PREFIX']}chat:room:lobby")
        ada = stack.enter_context(EventSource(f"{chat.url}/rooms/lobby/stream?name=ada"))
        ada.wait_for(lambda events: any(event.event == "joined" for event in events))
        old = chat.worker_pids()

        chat.reload()
        wait_until(lambda: not set(old) & set(chat.worker_pids()), 20)
        ada.wait_connected(2)

        frames = b""

        def back() -> bool:
            nonlocal frames
            frames += (told.get_message() or {"data": b""})["data"]
            return b"event: back" in frames

        wait_until(back)
        assert frames.count(b"event: joined") == 1
        assert b"event: left" not in frames


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
        ("notifications", "/notify/ada", {"text": "hello"}),
        ("chat", "/rooms/lobby", {"name": "ada", "text": "hello"}),
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
    monkeypatch.setenv("SECRET_KEY", "for these tests")
    monkeypatch.setattr("flask_redis_events.broker.redis.PATIENCE", 0.1)
    client = importlib.import_module(f"examples.{name}.app").create_app().test_client()
    client.post("/login", data={"user": "ada"})

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
