"""Streams that begin with a channel's state, from a request to their frames."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask, request
from flask.testing import FlaskClient

from flask_redis_events import ConfigError, RedisEvents
from flask_redis_events.testing import read_events
from flask_redis_events.wire.sse import Decoder, Event

events = RedisEvents()
Read = Callable[[int], list[Event]]


@pytest.fixture(params=["redis", "memory"])
def client(request, redis_server, prefix) -> Iterator[FlaskClient]:
    app = Flask(__name__)
    url = redis_server.url if request.param == "redis" else f"memory://{prefix}"
    app.config.update(
        REDIS_EVENTS_URL=url,
        REDIS_EVENTS_PREFIX=prefix,
        REDIS_EVENTS_HISTORY=200,
        REDIS_EVENTS_MAX_REPLAY=50_000,
    )
    events.init_app(app)
    add_views(app)
    with app.app_context():
        yield app.test_client()
        events.hub.close()


def add_views(app: Flask) -> None:
    def callback(channel: str, message: Any, event: Any) -> Any:
        return None if message == "skipped" else message

    def generator(messages: Any) -> Any:
        yield from messages

    kinds: dict[str, dict[str, Any]] = {
        "plain": {},
        "callback": {"function": callback},
        "generator": {"function": generator},
        "shared": {"function": callback, "shared": True},
        "history": {"history": False},
        "shared-history": {"function": callback, "shared": True, "history": False},
    }

    @app.get("/<kind>")
    def stream(kind: str) -> Any:
        options = dict(kinds[kind])
        channels = request.args.getlist("channel") or ["prices"]
        function = [options.pop("function")] if "function" in options else []
        return events.stream_response(channels, *function, backlog="state", **options)


KINDS = ["plain", "callback", "generator", "shared", "history", "shared-history"]


def emit(key: str, price: Any, channel: str = "prices") -> str:
    id = events.emit(channel, [key, price], key=key, keep="latest")
    assert id is not None
    return id


@contextmanager
def opened(
    client: FlaskClient, path: str, **headers: str
) -> Iterator[Callable[[int], list[Event]]]:
    """Open a stream; return a function that reads so many events more."""
    response = client.get(path, headers=headers, buffered=False)
    chunks, decoder, found = response.iter_encoded(), Decoder(), list[Event]()

    def read(count: int) -> list[Event]:
        while len(found) < count:
            found.extend(decoder.feed(next(chunks)))
        taken = found[:count]
        del found[:count]
        return taken

    with response:
        yield read


def shown(got: list[Event]) -> list[Any]:
    """Return data, and the names of control events."""
    return [json.loads(one.data) if one.event == "message" else one.event for one in got]


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_connect_gets_the_state(client, kind: str):
    """The newest value of each key in the order of their ids, and then live."""
    emit("EUR", 1)
    emit("USD", 2)
    events.emit("prices", "no value")
    emit("EUR", 3)
    # A position must not be ahead of what a generator was given.
    numbered = "history" not in kind and kind != "generator"
    with opened(client, f"/{kind}") as read:
        got = read(3 + numbered)
        emit("USD", 4)
        live = read(1)

    beats = ["heartbeat"] * numbered
    assert shown(got) == ["ready", ["USD", 2], ["EUR", 3], *beats]
    assert shown(live) == [["USD", 4]]
    assert bool(got[-1].last_event_id) == ("history" not in kind)


@pytest.mark.parametrize("kind", KINDS)
def test_without_values_a_stream_is_live(client, kind: str):
    """A channel without a state is one like any other."""
    with opened(client, f"/{kind}") as read:
        got = read(1 + ("history" not in kind))
        emit("EUR", 1)

        assert shown(got) == ["ready", "heartbeat"][: len(got)]
        assert shown(read(1)) == [["EUR", 1]]


def test_values_have_their_ids(client):
    """`ready` has none, so a client that is cut before the values begins anew; then it is now."""
    ids = [emit("EUR", 1), emit("USD", 2)]
    events.emit("other", "moves the clock")
    with opened(client, "/plain") as read:
        got = read(4)

    assert json.loads(got[0].data).keys() == {"heartbeat"}
    assert [one.last_event_id for one in got] == ["", *ids, events.position()]


def test_values_that_a_callback_skips_are_passed(client):
    """The position moves on, as with any message that a callback skips."""
    events.emit("prices", "skipped", key="EUR", keep="latest")
    with opened(client, "/callback") as read:
        assert [one.event for one in read(2)] == ["ready", "heartbeat"]


def test_several_channels_and_patterns(client):
    """The values of all of them come in the order of their ids."""
    emit("EUR", 1, "price:a")
    emit("EUR", 2, "price:b")
    emit("EUR", 3)
    emit("EUR", 4, "price:a")

    with opened(client, "/plain?channel=price:*&channel=prices") as read:
        assert shown(read(5)) == ["ready", ["EUR", 2], ["EUR", 3], ["EUR", 4], "heartbeat"]


def test_a_resume_gets_history(client):
    """A client that comes back gets all that it has missed, and no state."""
    emit("USD", 0)
    cursor = emit("EUR", 1)
    emit("EUR", 2)
    events.emit("prices", "no value")
    emit("EUR", 3)

    with opened(client, "/plain", **{"Last-Event-ID": cursor}) as read:
        assert shown(read(4)) == ["ready", ["EUR", 2], "no value", ["EUR", 3]]
        emit("USD", 4)
        assert shown(read(1)) == [["USD", 4]]


def test_a_client_without_ids_gets_the_state_again(client):
    """It does not resume, so that each of its connections is a first one."""
    cursor = emit("EUR", 1)
    emit("EUR", 2)

    with opened(client, "/history", **{"Last-Event-ID": cursor}) as read:
        assert shown(read(2)) == ["ready", ["EUR", 2]]


@pytest.mark.parametrize("cursor", ["no id", "5-0"])
def test_a_cursor_that_cannot_go_on_gets_the_state(client, cursor: str):
    """`reset`, and then all that there is: the state, and what is kept after the loss."""
    emit("EUR", 1)
    events.emit("prices", "no value")
    emit("USD", 2)
    kept = [] if cursor == "no id" else ["no value"]

    with opened(client, "/plain", **{"Last-Event-ID": cursor}) as read:
        got = read(5 + len(kept))
        emit("EUR", 3)

        assert shown(got) == ["ready", "reset", ["EUR", 1], *kept, ["USD", 2], "heartbeat"]
        assert shown(read(1)) == [["EUR", 3]]
        assert got[-1].last_event_id == events.history("prices", limit=2)[0].id


def test_a_state_that_history_has_outrun_is_not_lost(client):
    """A cursor before a trimmed history gets `reset`, and the values that were trimmed, too."""
    cursor = emit("EUR", 1)
    emit("USD", 2)
    for number in range(500):
        events.emit("prices", number)

    with opened(client, "/plain", **{"Last-Event-ID": cursor}) as read:
        got = shown(read(100))
    assert got[:4] == ["ready", "reset", ["EUR", 1], ["USD", 2]]
    assert got[4:] == list(range(got[4], got[4] + 96))


def test_more_than_a_client_may_have_is_told(client):
    """`reset` says so, and the stream goes on live."""
    for number in range(60):
        emit(f"key {number}", "x" * 1000)

    with opened(client, "/plain") as read:
        assert shown(read(3)) == ["ready", "reset", "heartbeat"]
        emit("EUR", 1)
        assert shown(read(1)) == [["EUR", 1]]


def test_a_key_that_was_removed_is_not_there(client):
    """Pages that are open are told: by an event `remove`, or by the data that is given."""
    emit("EUR", 1)
    emit("USD", 1)
    emit("JPY", 1)
    with opened(client, "/plain") as read:
        read(5)
        events.remove("prices", "EUR")
        events.remove("prices", "USD", ["USD", None])
        events.remove("prices", "GBP", {"gone": True}, event="gone")
        got = read(3)
    with opened(client, "/plain") as read:
        assert shown(read(3)) == ["ready", ["JPY", 1], "heartbeat"]

    assert [(one.event, json.loads(one.data)) for one in got] == [
        ("remove", {"key": "EUR"}),
        ("message", ["USD", None]),
        ("gone", {"gone": True}),
    ]


def test_raw_data_and_names_are_kept(client):
    """A value of the state is the event as it was emitted."""
    events.emit_html("prices", "<b>1</b>", event="price", key="EUR", keep="latest")

    response = client.get("/callback", buffered=False)
    assert [(e.event, e.data) for e in read_events(response, 1)] == [("price", "<b>1</b>")]


def test_without_history_there_is_no_state():
    """Both sides of it say what is needed."""
    app = Flask(__name__)
    app.config.update(REDIS_EVENTS_URL="memory://no-history", REDIS_EVENTS_HISTORY=0)
    events.init_app(app)
    with app.app_context():
        with pytest.raises(ConfigError, match='keep="latest" needs a history: set REDIS_EVENTS_'):
            emit("EUR", 1)
        with (
            app.test_request_context(),
            pytest.raises(ConfigError, match='backlog="state" needs a history: set REDIS_EVENTS_'),
        ):
            events.stream_response("prices", backlog="state")
        with pytest.raises(ConfigError, match='a number of messages, "state" or "all", not'):
            events.stream("prices", backlog="latest")  # type: ignore[arg-type]
