"""Streams of runs, from a request to their frames: the same on Redis and on memory://."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from markupsafe import Markup

from flask_redis_events import ConfigError, RedisEvents, RunLost
from flask_redis_events.broker.coverage import Snapshot
from flask_redis_events.testing import read_events
from flask_redis_events.wire import Position
from flask_redis_events.wire.data import dumps
from flask_redis_events.wire.sse import Decoder, Event
from tests.support.factories import channels
from tests.support.waiting import wait_until

NAME = "answer:1"
events = RedisEvents()


@pytest.fixture(params=["redis", "memory"])
def client(request, redis_server, prefix) -> Iterator[FlaskClient]:
    app = Flask(__name__)
    url = redis_server.url if request.param == "redis" else f"memory://{prefix}"
    app.config.update(
        REDIS_EVENTS_URL=url, REDIS_EVENTS_PREFIX=prefix, REDIS_EVENTS_MAX_REPLAY=20_000
    )
    events.init_app(app)

    @app.get("/answer")
    @events.stream(NAME, backlog="all")
    def answer() -> None:
        """Stream all of a run."""

    @app.get("/callback")
    @events.stream(NAME, backlog="all")
    def callback() -> Callable[..., Any]:
        """Stream all of a run through a callback."""
        return lambda channel, message, event: message

    @app.route("/ai", methods=["GET", "POST"])
    @events.stream(backlog="all", format="ai-sdk")
    def ai() -> str:
        return NAME

    with app.app_context():
        yield app.test_client()
        events.hub.close()


def read(client: FlaskClient, count: int, **headers: str) -> list[tuple[str, Any]]:
    """Read what follows `ready`."""
    response = client.get("/answer", headers=headers)
    _, *got = read_events(response, count + 1, control=True)
    return [(event.event, json.loads(event.data)) for event in got]


def test_a_late_viewer_gets_all_of_it(client):
    """Joined into one event, and then `end` with the state."""
    with events.run(NAME) as run:
        for number in range(5):
            run.send(f"{number} ")
            run._attempt()

    assert len(events.history(NAME)) == 6
    assert read(client, 2) == [("message", "0 1 2 3 4 "), ("end", {"state": "finished"})]


def test_a_resume_gets_the_rest(client):
    """After a cursor within the run, what follows it is joined."""
    with events.run(NAME) as run:
        for number in range(5):
            run.send(f"{number} ")
            run._attempt()
    cursor = events.history(NAME)[1].id

    got = read(client, 2, **{"Last-Event-ID": cursor})
    assert got == [("message", "2 3 4 "), ("end", {"state": "finished"})]


@pytest.mark.parametrize("cursor", ["no id", "5-0"])
def test_a_cursor_that_cannot_go_on_gets_all(client, cursor: str):
    """`reset`, and then the whole run."""
    with events.run(NAME) as run:
        run.send("text")

    reset, *got = read(client, 3, **{"Last-Event-ID": cursor})
    assert reset[0] == "reset"
    assert got == [("message", "text"), ("end", {"state": "finished"})]


@pytest.fixture
def evict(redis_server, prefix) -> Callable[..., None]:
    """Return a function that deletes keys of the run as Redis does when it evicts, or all keys."""
    client = redis_server.client()

    def evict(*kinds: str) -> None:
        keys = [f"{prefix}{kind}:{NAME}" for kind in kinds]
        client.delete(*(keys or client.keys(f"{prefix}*")))

    return evict


@pytest.mark.parametrize("client", ["redis"], indirect=True)
@pytest.mark.parametrize("kinds, rest", [(["run"], ["text "]), ([], [])], ids=["state", "all"])
def test_whoever_comes_after_a_loss_is_told(client, evict, kinds: list[str], rest: list[str]):
    """A producer whose run Redis has lost ends it, and all later viewers get `reset` first."""
    with pytest.raises(RunLost), events.run(NAME) as run:
        run.send("text ")
        run._attempt()
        evict(*kinds)
        run.send("more")

    got = [("message", text) for text in rest]
    reset, *after = read(client, 2 + len(rest))
    assert reset[0] == "reset"
    assert after == [*got, ("end", {"state": "lost"})]


@pytest.mark.parametrize("client", ["redis"], indirect=True)
def test_whoever_comes_back_to_a_forgotten_run_is_told(client, evict):
    """Redis has lost all of a run that has ended, so the page cannot have the rest of it."""
    with events.run(NAME) as run:
        run.send("text ")
        run._attempt()
        cursor = events.history(NAME)[0].id
        run.send("more")
    evict("run", "history", "last")

    [(event, _)] = read(client, 1, **{"Last-Event-ID": cursor})
    assert event == "reset"


@pytest.mark.parametrize("client", ["redis"], indirect=True)
def test_a_log_may_outlive_its_state(client, evict):
    """Redis has evicted what it knew of a run that ended: its log is there, with the end."""
    with events.run(NAME) as run:
        run.send("text")
    evict("run")

    reset, *got = read(client, 3)
    assert reset[0] == "reset"
    assert got == [("message", "text"), ("end", {"state": "finished"})]


@pytest.mark.parametrize("client", ["redis"], indirect=True)
def test_a_worker_ends_a_run_whose_state_was_evicted(client, evict):
    """Its producer was killed, too; the list of leases is what is left."""
    with events.run(NAME, lease=0.2) as run:
        run.send("text")
        run._attempt()
        # As if it were killed.
        run._over = True
    evict("run")
    time.sleep(0.3)
    events.hub.broker.runs.sweep()

    assert events.run_status(NAME) == "lost"
    reset, *got = read(client, 3)
    assert (reset[0], got) == ("reset", [("message", "text"), ("end", {"state": "lost"})])


@pytest.mark.parametrize("client", ["redis"], indirect=True)
@pytest.mark.parametrize("piece", ["text", Markup("<b>text</b>"), {"a": 1}])
def test_a_worker_ends_a_run_of_which_only_a_viewer_knows(
    client, evict, redis_server, prefix, piece
):
    """Redis has forgotten it, its producer was killed, and a viewer has some of it."""
    decoder, got = Decoder(), list[Event]()
    for chunk in client.get("/answer").iter_encoded():
        got += decoder.feed(chunk)
        if got[-1].event == "ready":
            with events.run(NAME) as run:
                run.send(piece)
                # As if it were killed.
                run._attempt()
                run._over = True
        elif got[-1].event == "message":
            evict("run")
            redis_server.client().delete(f"{prefix}runs")

    assert [event.event for event in got] == ["ready", "message", "end"]
    assert got[1].data == (piece if isinstance(piece, Markup) else dumps(piece))
    assert events.history(NAME, limit=1)[0].data == {"state": "lost"}
    assert json.loads(got[-1].data) == {"state": "lost"}
    assert events.run_status(NAME) == "lost"


@pytest.mark.parametrize("client", ["redis"], indirect=True)
@pytest.mark.parametrize("pieces", [["a"], ["a", "b"]], ids=["one piece", "joined pieces"])
def test_a_worker_ends_a_run_of_which_only_the_log_is_left(
    client, evict, redis_server, prefix, pieces: list[str]
):
    """Redis has evicted the rest, and the producer was killed; the viewer comes later."""
    with events.run(NAME) as run:
        for piece in pieces:
            run.send(piece)
            run._attempt()
        run._over = True
    evict("run")
    redis_server.client().delete(f"{prefix}runs")

    reset, *got = read(client, 3)
    assert (reset[0], got) == ("reset", [("message", "".join(pieces)), ("end", {"state": "lost"})])


def test_a_channel_without_a_run_is_not_ended(client):
    """Its viewers wait for one, whatever else is emitted there."""
    decoder, got, registry = Decoder(), list[Event](), events.hub._registry
    for chunk in client.get("/answer").iter_encoded():
        got += decoder.feed(chunk)
        if got[-1].event == "ready":
            events.emit(NAME, "queued")
        elif got[-1].data == '"queued"':
            events.hub.broker.runs.sweep(*events.hub._reader.viewed_runs())
            with events.run(NAME) as run:
                run.send("text")
                run._attempt()
                wait_until(lambda: registry.viewed_runs() == {NAME})

    texts = [json.loads(event.data) for event in got[1:]]
    assert texts == ["queued", "text", {"state": "finished"}]
    assert not registry.viewed_runs()


def test_the_end_comes_after_what_precedes_it(client, monkeypatch):
    """History that was read for another viewer may be from before the end, which is live then."""
    run = events.run(NAME)
    run.__enter__()
    run.send("a ")
    run._attempt()
    hub, look = events.hub, events.hub.broker.runs.look
    begin = look(NAME).started
    read_before = hub.broker.replay(channels(NAME), after=begin)

    def end_and_look(channel: str) -> Any:
        with client.application.app_context():
            run.send("b")
            run.__exit__(None, None, None)
        return look(channel)

    monkeypatch.setattr(hub.broker.runs, "look", end_and_look)
    monkeypatch.setattr(hub.replays, "after", lambda *asked: read_before)

    got = read(client, 3)
    assert got == [("message", "a "), ("message", "b"), ("end", {"state": "finished"})]


@pytest.mark.parametrize("path", ["/answer", "/callback"])
def test_an_open_stream_that_missed_something_begins_anew(client, path: str):
    """After `reset` the browser comes back without its position, and gets all of the run."""
    decoder, got, hub = Decoder(), list[Event](), events.hub
    with events.run(NAME) as run:
        run.send("text")
        run._attempt()
        for chunk in client.get(path).iter_encoded():
            got += decoder.feed(chunk)
            if got[-1].event == "message":
                clock = hub.broker.replay([]).clock
                loss = {"": (Position(clock.ms + 1000), "forked")}
                with hub._lock:
                    hub._reader.sequence.refill(Snapshot(clock, [], loss))

    assert [event.event for event in got] == ["ready", "message", "reset", "reconnect"]
    assert got[-1].last_event_id == ""


def test_more_than_a_replay_may_have_is_told(client):
    """The end comes nevertheless."""
    with events.run(NAME) as run:
        for _ in range(40):
            run.send({"text": "x" * 1000})

    assert read(client, 2) == [("reset", {"reason": "too much"}), ("end", {"state": "finished"})]


def test_the_ai_sdk_joins_what_runs(client):
    """A GET of nothing that runs is 204; a POST waits for a run."""
    assert client.get("/ai").status_code == 204
    with events.run(NAME) as run:
        run.send({"type": "start"})
        run._attempt()
        response = client.get("/ai")
        assert response.headers["x-vercel-ai-ui-message-stream"] == "v1"
        assert [event.data for event in read_events(response, 1)] == ['{"type":"start"}']

    assert client.get("/ai").status_code == 204
    assert read_events(client.post("/ai"), 2)[-1].data == "[DONE]"


@pytest.mark.parametrize(
    "options, words",
    [
        ({"backlog": "al"}, "number of messages"),
        ({"backlog": "all", "shared": True}, "without shared="),
        ({"backlog": "all", "history": False}, "history=False"),
        ({"format": "ai-sdk"}, 'needs backlog="all"'),
        ({"format": "other", "backlog": "all"}, '"ai-sdk" or None'),
    ],
    ids=["no number", "shared", "no history", "no run", "no format"],
)
def test_wrong_options_are_refused(options: dict[str, Any], words: str):
    """Where the view is decorated."""
    with pytest.raises(ConfigError, match=words):
        events.stream("a", **options)


def generate(messages: Any) -> Iterator[Any]:
    yield from messages


@pytest.mark.parametrize(
    "channels, function",
    [("answer:*", None), (["a", "b"], None), ("a", generate)],
    ids=["a pattern", "two channels", "a generator"],
)
def test_a_stream_of_runs_has_one_channel(client, channels: Any, function: Any):
    """A pattern has many runs; a generator function is not told of their end."""
    with client.application.test_request_context(), pytest.raises(ConfigError, match="one channel"):
        events.stream_response(channels, function, backlog="all")
