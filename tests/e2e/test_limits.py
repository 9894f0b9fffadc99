"""`MAX_STREAMS_PER_CLIENT`: one client cannot take all streams of a worker."""

from __future__ import annotations

import contextlib
import json

import pytest

from tests.support.waiting import wait_until

from .conftest import App, Start
from .test_draining import Waiting

KINDS = pytest.mark.parametrize("kind", ["gevent", "generator", "gthread"])


def assert_refused(app: App, path: str) -> None:
    """An EventSource is asked to come again later; any other client gets a 503."""
    with app.stream(path) as client:
        assert client.status == 200
        assert client.wait_closed()
        (event,) = client.events
        assert (event.event, json.loads(event.data)) == ("reconnect", {"reason": "too many"})
        assert 375 <= (client.decoder.retry or 0) <= 1500
    status, headers, _ = app.request("GET", path, Accept="application/json")
    assert (status, int(headers["Retry-After"]) >= 1) == (503, True)
    assert "no-store" in headers["Cache-Control"]


@KINDS
def test_an_address_has_so_many_streams_and_no_more(start: Start, kind: str):
    """Streams are counted from their first byte to their end, and requests without one are not."""
    app = start(kind, env={"MAX_STREAMS_PER_CLIENT": "2", "HEARTBEAT": "0.3"})
    for _ in range(3):
        assert app.request("HEAD", "/owned/x")[0] == 200
    with app.ready("/owned/x"), app.ready("/channel/x") as other:
        assert_refused(app, "/callback/x")
        assert_refused(app, "/owned/y")
        other.close()
        wait_until(lambda: app.state()["streams"] == 1)
        with app.ready("/owned/y"):
            assert_refused(app, "/owned/x")
    wait_until(lambda: app.state()["streams"] == 0)
    metrics = app.state()["metrics"]

    assert metrics["refused.too many"] == 6
    assert (metrics["opened"], metrics["closed.gone"]) == (3, 3)
    assert app.state()["closed"] == ["gone"] * 2


def test_an_identity_is_no_address(start: Start):
    """A client with an identity is counted by it, and takes no place of others on its address."""
    app = start(env={"MAX_STREAMS_PER_CLIENT": "1"})
    with (
        app.ready("/owned/x"),
        app.ready("/owned/x?who=ada"),
        app.ready("/owned/x?who=127.0.0.1"),
    ):
        assert_refused(app, "/owned/x")
        assert_refused(app, "/owned/y?who=ada")
        with app.ready("/owned/x?who=bob"):
            assert app.state()["streams"] == 4


def test_a_burst_does_not_exceed_it(start: Start):
    """Opening streams are counted again, as many requests may have been let in before."""
    app = start(env={"MAX_STREAMS_PER_CLIENT": "5"})
    with contextlib.ExitStack() as opened:
        clients = [opened.enter_context(Waiting(app.server.port, "/owned/x")) for _ in range(40)]
        wait_until(lambda: not [client for client in clients if not client.answered()], 20)

        assert sum(b"event: ready" in client.received for client in clients) == 5
    wait_until(lambda: app.state()["streams"] == 0)
    assert app.state()["closed"] == ["gone"] * 5
    with app.ready("/owned/x"):
        """Nothing of them remains."""
