"""The package beside the extensions and queues that are most used with Flask and Redis.

`tox -e guests` installs them; the other environments leave this directory out.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
from collections.abc import Iterator

import fakeredis
import httpx
import pytest

from flask_redis_events import ConfigError, Emitter
from tests.support.processes import ROOT, Process
from tests.support.servers import Gunicorn
from tests.support.sse_client import SSEClient
from tests.support.waiting import wait_until

CELERY = ["celery", "--app", "tests.guests.app:celery", "worker", "--concurrency", "1"]
RQ = ["rq.cli", "worker", "rq", "--url", "{url}"]


@pytest.fixture(scope="module")
def environ(redis_server) -> dict[str, str]:
    return {"TEST_REDIS_EVENTS_URL": redis_server.url}


@pytest.fixture(scope="module")
def server(environ) -> Iterator[Gunicorn]:
    with Gunicorn("tests.guests.app:create_app()", workers=1, env=environ) as server:
        yield server


@pytest.fixture
def worker(environ, redis_server, tmp_path, request) -> Iterator[Process]:
    """A process of a queue's worker; a job waits until it has started."""
    command = [part.format(url=redis_server.url) for part in request.param]
    env = {**os.environ, **environ, "PYTHONPATH": str(ROOT)}
    process = Process([sys.executable, "-m", *command], tmp_path / "worker.log", env)
    try:
        process.start()
        yield process
    finally:
        print(process.log)  # pytest shows it if the test fails
        process.end(signal.SIGKILL)


@pytest.fixture
def user(server) -> Iterator[httpx.Client]:
    """A new user, who has logged in."""
    with httpx.Client(base_url=server.url, timeout=20) as client:
        client.post(f"/login/{secrets.token_hex(4)}")
        yield client


def stream(user: httpx.Client) -> SSEClient:
    cookies = "; ".join(f"{name}={value}" for name, value in user.cookies.items())
    return SSEClient(str(user.base_url.join("/stream")), {"Cookie": cookies})


@pytest.mark.parametrize(
    ("path", "worker"),
    [("/celery", CELERY), ("/rq", RQ)],
    indirect=["worker"],
    ids=["Celery", "RQ"],
)
def test_a_job_emits_to_the_user_who_started_it(user, path, worker):
    """The view reads the user from the session on the server, and the worker's process emits."""
    with stream(user) as client:
        user.post(path)

        assert client.next_data(timeout=40) == f"from {path}"


def read(client: SSEClient) -> tuple[str, str]:
    """Read a run to its end; return the text, and what has become of it."""
    client.until(lambda event: event.event == "end", 40)
    text = "".join(json.loads(e.data) for e in client.events if e.event == "message")
    return text, json.loads(client.events[-1].data)["state"]


WHOLE = "".join(f"{number} " for number in range(150))


@pytest.mark.parametrize("worker", [CELERY], indirect=True, ids=["Celery"])
def test_a_task_produces_a_run(user, worker):
    """Viewers that wait for it, that come in its midst, and that come late have all of it."""
    id = secrets.token_hex(4)
    url = str(user.base_url.join(f"/answers/{id}"))
    with SSEClient(url) as early:
        user.post(f"/answers/{id}")
        early.until(lambda event: event.event == "message", 40)
        with SSEClient(url) as midst:
            assert read(early) == read(midst) == (WHOLE, "finished")
    with SSEClient(url) as late:
        assert read(late) == (WHOLE, "finished")


@pytest.mark.parametrize("worker", [CELERY], indirect=True, ids=["Celery"])
@pytest.mark.parametrize("end", ["stopped", "lost"])
def test_a_task_that_ends_before_its_time(user, worker, end):
    """It is asked to stop by another process, or its process is killed: viewers are told which."""
    id = secrets.token_hex(4)
    with SSEClient(str(user.base_url.join(f"/answers/{id}"))) as viewer:
        user.post(f"/answers/{id}")
        viewer.until(lambda event: event.event == "message", 40)
        if end == "stopped":
            assert user.post(f"/answers/{id}/stop").json() == {"stopping": True}
        else:
            worker.end(signal.SIGKILL)
        text, state = read(viewer)

    assert state == end
    assert text
    assert WHOLE.startswith(text)
    assert text != WHOLE


def test_a_stream_without_a_session_is_refused(server):
    """The session's own request decides, before the first byte."""
    with SSEClient(f"{server.url}/stream") as client:
        assert client.status == 401


def test_a_stream_may_be_limited(user):
    """The limit counts streams that begin, and refuses with 429; an open stream goes on."""
    with stream(user) as first, stream(user) as second, stream(user) as third:
        assert [first.status, second.status, third.status] == [200, 200, 429]
        user.get("/report")

        assert first.next_data() == second.next_data() == "computed"


def test_a_cached_view_emits_when_it_runs(user):
    """The second request has the cached answer, and emits nothing."""
    with stream(user) as client:
        first, second = user.get("/report"), user.get("/report")
        user.post("/done")

        assert first.json() == second.json()
        assert [client.next_data(), client.next_data()] == ["computed", "done"]


def test_streams_are_handed_off(user):
    """None of the extensions keeps the hub from writing the streams."""
    before = user.get("/metrics").json().get("handed_off", 0)
    with stream(user) as client:
        client.next()

        wait_until(lambda: user.get("/metrics").json()["handed_off"] == before + 1)


def test_fakeredis_is_refused():
    """Its connections wait for ever, so that streams would stay silent; the error names the fix."""
    with pytest.raises(ConfigError, match="set REDIS_EVENTS_URL to 'memory://'"):
        Emitter("redis://", redis=fakeredis.FakeRedis())
