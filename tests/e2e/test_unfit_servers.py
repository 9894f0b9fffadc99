"""Servers that streams harm: the log names them, once, and streams work as far as they can."""

from __future__ import annotations

import pytest

from .conftest import Start

OVER_ASGI = "does not report a client that has left"
ONE_AT_A_TIME = "serves one request at a time"


@pytest.mark.parametrize(
    "kind, name", [("uvicorn", "a2wsgi"), ("hypercorn", "Hypercorn")], ids=["uvicorn", "hypercorn"]
)
def test_an_asgi_server(start: Start, kind: str, name: str):
    """A server that carries WSGI over ASGI is named, with what to use in its place."""
    app = start(kind)
    with app.ready("/channel/x") as one, app.ready("/channel/x") as two:
        app.emit("x", "still")

        assert [one.next_data(), two.next_data()] == ["still", "still"]
    told = [line for line in app.server.log.splitlines() if OVER_ASGI in line]
    assert len(told) == 1
    assert told[0].startswith(name)
    assert "gunicorn --worker-class gevent" in told[0]


@pytest.mark.parametrize(
    "kind, options",
    [
        ("sync", {}),
        ("sync", {"args": ["--worker-class", "gthread", "--threads", "1"]}),
        ("flask", {"args": ["--without-threads"]}),
    ],
    ids=["sync", "gthread", "flask"],
)
def test_one_request_at_a_time(start: Start, kind: str, options: dict[str, list[str]]):
    """A server that one stream fills is told so."""
    app = start(kind, **options)
    with app.ready("/channel/x"):
        assert app.server.log.count(ONE_AT_A_TIME) == 1


@pytest.mark.parametrize("kind", ["gevent", "generator", "gevent_pywsgi", "gthread", "flask"])
def test_fit_servers(start: Start, kind: str):
    """A server that serves streams well is not complained about."""
    app = start(kind)
    with app.ready("/channel/x"):
        assert "worker-class" not in app.server.log
