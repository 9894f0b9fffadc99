"""The demo's application, without its processes."""

from __future__ import annotations

import pytest
from flask import Flask
from werkzeug.test import EnvironBuilder, run_wsgi_app

from flask_redis_events.demo.app import create_app
from flask_redis_events.demo.permission import is_loopback
from tests.support.processes import free_port
from tests.support.servers import RedisServer

#: What a browser sends from the demo's page.
HOST, ORIGIN = "127.0.0.1:8000", "http://127.0.0.1:8000"


@pytest.fixture
def demo(redis_server: RedisServer, prefix: str, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """The application, as a launcher starts it that listens on loopback."""
    monkeypatch.setenv("REDIS_EVENTS_URL", redis_server.url)
    monkeypatch.setenv("REDIS_EVENTS_PREFIX", prefix)
    # Not one of the others: in a test, gunicorn's master would be the shell.
    monkeypatch.setenv("DEMO_FAULTS", "flood")
    return create_app()


def flood(demo: Flask, *, address: str = "127.0.0.1", **headers: str) -> int:
    """Ask for a flood, with the headers of the demo's page or others; return the status."""
    given = {"Host": HOST, "Origin": ORIGIN} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    # Not by the test client, which reads the host and, with old versions of Werkzeug, refuses some.
    request = EnvironBuilder(
        "/faults/flood",
        method="POST",
        headers=[one for one in given.items() if one[1]],
        json={},
        environ_base={"REMOTE_ADDR": address},
    )
    _, status, _ = run_wsgi_app(demo, request.get_environ(), buffered=True)
    return int(status.partition(" ")[0])


@pytest.mark.parametrize("host", [HOST, "localhost:8000", "[::1]:8000", "127.0.0.2"])
def test_the_page_may_cause_faults(demo: Flask, host: str):
    """A page of the demo, under any name of this machine, may cause the faults that are allowed."""
    assert flood(demo, Host=host, Origin=f"http://{host}") == 204


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": ""},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:9000"},
        {"Origin": "https://127.0.0.1:8000"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
        {"Host": "127.0.0.1.evil.example", "Origin": "http://127.0.0.1.evil.example"},
        {"Host": "192.168.1.7:8000", "Origin": "http://192.168.1.7:8000"},
        {"Host": "[::1", "Origin": "http://[::1"},
        {"X_Forwarded_For": "127.0.0.1"},
        {"Forwarded": "for=127.0.0.1"},
        {"Via": "1.1 proxy"},
        {"X_Real_IP": "127.0.0.1"},
        {"address": "192.168.1.7"},
        {"address": "192.168.1.7", "X_Forwarded_For": "127.0.0.1"},
    ],
    ids=lambda headers: " ".join(headers.values()) or "no origin",
)
def test_nobody_else_may(demo: Flask, headers: dict[str, str]):
    """Another origin, another name, another machine and a proxy are refused."""
    assert flood(demo, **headers) == 403


def test_a_fault_that_is_not_allowed_is_refused(demo: Flask):
    """The launcher's list decides, also for the demo's own page."""
    client = demo.test_client()
    headers = {"Host": HOST, "Origin": ORIGIN}

    assert client.post("/faults/freeze", headers=headers, json={}).status_code == 403
    assert client.post("/faults/unknown", headers=headers, json={}).status_code == 404
    assert client.get("/faults/flood", headers=headers).status_code == 405


def test_another_site_starts_no_job(demo: Flask):
    """A form can be sent from any site, and so a job takes JSON."""
    client = demo.test_client()

    assert client.post("/jobs", data={"a": "form"}).status_code == 415
    assert client.post("/jobs", json={}).status_code == 202


@pytest.mark.parametrize(
    "host, is_own",
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.7", False),
        ("demo.example", False),
        ("", False),
        (None, False),
    ],
)
def test_loopback(host: str | None, is_own: bool):
    """Only names and addresses that lead to this machine alone are loopback."""
    assert is_loopback(host) == is_own


def test_a_page_is_not_told_where_redis_is(monkeypatch: pytest.MonkeyPatch):
    """The 503 is JSON, and reveals neither the address of Redis nor its password."""
    port = free_port()
    monkeypatch.setenv("REDIS_EVENTS_URL", f"redis://:secret@127.0.0.1:{port}/0")
    monkeypatch.setenv("REDIS_EVENTS_PREFIX", "demo:")
    monkeypatch.setattr("flask_redis_events.broker.commands.PATIENCE", 0.1)

    response = create_app().test_client().post("/chat", json={"name": "ada", "text": "hello"})

    assert response.status_code == 503
    assert response.json == {"error": "Redis is away, try again later."}
