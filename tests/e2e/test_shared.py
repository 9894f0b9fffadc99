"""`shared=True`: one callback for all clients of a stream."""

from __future__ import annotations

import json

import pytest

from tests.support.sse_client import EventSource
from tests.support.waiting import wait_until

from .conftest import Start

KINDS = pytest.mark.parametrize("kind", ["gevent", "generator", "gthread"])


@KINDS
def test_the_callback_runs_once_for_each_message(start: Start, kind: str):
    """The callback runs once for each message, and all clients get the same events and ids."""
    app = start(kind)
    clients = [app.ready("/once/x") for _ in range(5)]
    ids = [app.emit("x", message) for message in ("a", "skip", "raise", "two", "b")]
    expected = [{"made of": "a"}, "first of two", "second of two", {"made of": "b"}]
    for client in clients:
        assert [client.next_data() for _ in expected] == expected
        assert client.decoder.last_event_id == ids[-1]

    assert app.state()["called"] == ["a", "skip", "raise", "two", "b"]
    for client in clients:
        client.close()
    wait_until(lambda: app.state()["streams"] == 0)
    wait_until(lambda: app.subscribers("x") == 0)


@KINDS
def test_a_history_that_is_skipped_ends_no_stream(start: Start, kind: str):
    """A stream goes on if the callback skips all missed messages."""
    app = start(kind)
    with app.ready("/once/x") as client:
        id = client.decoder.last_event_id
    app.emit("x", "skip")
    with app.ready("/once/x", last_event_id=id) as client:
        app.emit("x", "a")

        assert client.next_data() == {"made of": "a"}


@KINDS
def test_who_comes_back_gets_what_was_missed(start: Start, kind: str):
    """Missed messages from history pass through the callback, too."""
    app = start(kind)
    with app.ready("/once/x") as stays, app.ready("/once/x") as client:
        app.emit("x", "a")
        assert client.next_data() == {"made of": "a"}
        id = client.decoder.last_event_id
        client.close()
        app.emit("x", "b")
        app.emit("x", "skip")
        assert [stays.next_data() for _ in range(2)] == [{"made of": "a"}, {"made of": "b"}]
        with app.ready("/once/x", last_event_id=id) as again:
            app.emit("x", "c")

            assert [again.next_data() for _ in range(2)] == [{"made of": "b"}, {"made of": "c"}]
            assert stays.next_data() == {"made of": "c"}


@KINDS
def test_false_ends_it_for_all(start: Start, kind: str):
    """`False` ends the stream of each client for good; a new client's stream works."""
    app = start(kind)
    with EventSource(app.url + "/once/x") as one, EventSource(app.url + "/once/x") as two:
        for source in (one, two):
            source.wait_for(lambda events: len(events) == 1)
        app.emit("x", "false")
        for source in (one, two):
            assert source.wait_stopped() == 204
            assert [event.event for event in source.events] == ["ready", "message", "end"]
    with app.ready("/once/x") as client:
        app.emit("x", "a")

        assert client.next_data() == {"made of": "a"}


@KINDS
def test_it_has_heartbeats_and_drains(start: Start, kind: str):
    """Shared streams send heartbeats with the group's position, and drain."""
    app = start(kind, env={"HEARTBEAT": "0.4"})
    with app.ready("/once/x") as client:
        id = app.emit("x", "skip")
        heartbeat = client.until(
            lambda event: event.event == "heartbeat" and event.last_event_id == id
        )
        assert json.loads(heartbeat.data) == {"id": id}
        app.server.terminate()

        assert client.until(lambda event: event.event == "reconnect")
        assert client.wait_closed()


@KINDS
def test_clients_with_other_options_are_not_among_them(start: Start, kind: str):
    """Clients of one endpoint share events only if their options are the same."""
    app = start(kind)
    with app.ready("/optional/x?plain") as plain, app.ready("/optional/x") as client:
        id = app.emit("x", "a")

        assert plain.next_data() == client.next_data() == "a"
        assert client.decoder.last_event_id == id
        assert not plain.decoder.last_event_id
