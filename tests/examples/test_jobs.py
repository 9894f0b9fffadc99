"""The example `jobs`, without its pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from examples.jobs.app import create_app
from examples.jobs.hashing import channel, events, hash_file
from flask_redis_events.testing import read_events
from tests.support.processes import free_port
from tests.support.servers import RedisServer


@pytest.fixture
def app(redis_server: RedisServer, prefix: str) -> Iterator[Flask]:
    app = create_app({"REDIS_EVENTS_URL": redis_server.url, "REDIS_EVENTS_PREFIX": prefix})
    yield app
    app.extensions["queue"].delete()
    app.extensions["queue"].connection.close()
    with app.app_context():
        events.hub.close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def start(client: FlaskClient, megabytes: int = 64) -> str:
    answer = client.post("/jobs", json={"megabytes": megabytes})
    assert answer.status_code == 202
    return str(answer.get_json()["id"])


def states(client: FlaskClient) -> list[str]:
    """Return the state of each job of the list."""
    return [
        html.partition('data-state="')[2].split('"')[0]
        for html in client.get("/state").get_json()["jobs"]
    ]


def test_percentages_are_true(app: Flask):
    """Each step is sent once, in order, from nothing to all; the hash comes last."""
    with app.app_context():
        hash_file("one", 8)
        seen = [event.data for event in events.history(channel("one"), limit=100)]

    steps = [one for one in seen if "percent" in one]
    assert [one["percent"] for one in steps] == [100 * done // 16 for done in range(1, 17)]
    assert [one["step"] for one in steps] == ["Writing"] * 8 + ["Hashing"] * 8
    assert len(seen[-2]["digest"]) == 128
    assert seen[-1] == {"state": "finished"}


def test_a_large_file_has_no_more_events(app: Flask):
    """There are at most a hundred steps and one, whatever the size."""
    with app.app_context():
        hash_file("large", 130)
        percents = [
            event.data.get("percent") for event in events.history(channel("large"), limit=500)
        ]

    assert percents[:-2] == list(range(101))


def test_a_broken_disk_fails_the_job(app: Flask, client: FlaskClient):
    """The job's own error goes to RQ; the run says what its viewers may know, and has failed."""
    with app.app_context():
        with pytest.raises(OSError, match="shorter"):
            hash_file("broken", 8, broken=True)
        assert events.run_status(channel("broken")) == "failed"
        *_, problem, end = [event.data for event in events.history(channel("broken"), limit=100)]

    assert problem == {"problem": "The file is shorter than it was."}
    assert end == {"state": "failed"}


def test_a_job_that_waits_can_be_cancelled(app: Flask, client: FlaskClient):
    """The request is kept until a worker takes the job, which then ends at once."""
    id = start(client)
    assert states(client) == ["pending"]
    assert client.post(f"/jobs/{id}/stop").json == {"stopping": True}
    with app.app_context():
        hash_file(id, 64)

    assert states(client) == ["stopped"]
    assert client.post(f"/jobs/{id}/stop").json == {"stopping": False}


def test_the_stream_of_a_job_ends_for_good(app: Flask, client: FlaskClient):
    """A page that comes after the end gets all steps and the end, and its browser stays away."""
    id = start(client)
    with app.app_context():
        hash_file(id, 2)
    got = read_events(client.get(f"/jobs/{id}/stream", buffered=False), 20, control=True)

    assert [event.event for event in got] == ["ready", *["message"] * 5, "end"]
    headers = {"Last-Event-ID": got[-1].last_event_id}
    assert client.get(f"/jobs/{id}/stream", headers=headers).status_code == 204


def test_the_list_is_kept(app: Flask, client: FlaskClient):
    """A page that is loaded again shows all jobs, newest first, with what has become of them."""
    first, second = start(client), start(client, 256)
    with app.app_context():
        hash_file(first, 1)
    page = client.get("/").text

    assert page.index(f"job-{second}") < page.index(f"job-{first}")
    assert states(client) == ["pending", "finished"]
    assert 'data-percent="100"' in page


def test_one_stream_tells_of_all_jobs(app: Flask, client: FlaskClient):
    """The list's stream has new jobs, and the steps and the end of each, with the job's id."""
    response = client.get("/stream", buffered=False)
    id = start(client)
    with app.app_context():
        hash_file(id, 1)
    got = read_events(response, 5)

    assert [event.event for event in got] == ["new", "message", "message", "message", "run"]
    assert id in got[0].data
    assert all(f'"id":"{id}"' in event.data for event in got[1:])


def test_unknown_jobs_are_404(client: FlaskClient):
    """No stream stays open for a job that there is not."""
    for path in ("/jobs/nonexistent", "/jobs/nonexistent/stream", "/jobs/*/stream"):
        assert client.get(path).status_code == 404
    assert client.post("/jobs/nonexistent/stop").status_code == 404


@pytest.mark.parametrize(
    "body",
    [{}, [], {"megabytes": 63}, {"megabytes": "64"}, {"megabytes": 64.0}, {"megabytes": [64]}],
)
def test_what_is_no_job_is_refused(client: FlaskClient, body: object):
    """A size that is not offered starts nothing."""
    assert client.post("/jobs", json=body).status_code == 400
    assert states(client) == []


def test_without_redis_the_answer_is_503(monkeypatch: pytest.MonkeyPatch):
    """The 503 is JSON, and does not reveal the address of Redis."""
    monkeypatch.setattr("flask_redis_events.broker.commands.PATIENCE", 0.1)
    client = create_app({"REDIS_EVENTS_URL": f"redis://127.0.0.1:{free_port()}/0"}).test_client()

    for answer in (client.get("/state"), client.post("/jobs", json={"megabytes": 64})):
        assert answer.status_code == 503
        assert answer.json == {"error": "Redis is away, try again later."}
