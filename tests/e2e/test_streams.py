"""A stream's promises, which are the same under every server, with greenlets and with threads."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator

import pytest

from flask_redis_events.wire import Position
from tests.support.sse_client import EventSource
from tests.support.waiting import wait_until

from .conftest import App, starting

#: "generator" is gunicorn's gevent worker without handing off.
SERVERS = ["gevent", "generator", "preload", "gevent_pywsgi", "gthread", "flask"]


@pytest.fixture(scope="module", params=SERVERS)
def app(request, redis_server) -> Iterator[App]:
    """One server of each kind for all tests of this module; each test uses its own channels."""
    with starting(redis_server, f"test-{request.param}-{secrets.token_hex(4)}:") as start:
        yield start(request.param)


def test_the_head_and_the_first_event(app):
    """The headers and `ready` leave at once, with a position and the reconnection time."""
    with app.stream("/channel/first") as client:
        ready = client.next()

        assert client.status == 200
        assert client.headers["Content-Type"] == "text/event-stream"
        assert client.headers["Cache-Control"] == "no-store, no-transform"
        assert client.headers["X-Accel-Buffering"] == "no"
        assert ready.event == "ready"
        assert Position.parse(ready.last_event_id)
        assert json.loads(ready.data) == {"heartbeat": 1, "id": ready.last_event_id}
        assert client.decoder.retry == 500


@pytest.mark.parametrize(
    "value",
    [{"id": 7}, "text", 'a "quoted"\nline', 0, "", [], None, False, True, 1.5, "ä\u2028\u0085😀"],
    ids=repr,
)
def test_what_is_emitted_arrives(app, value):
    """Any JSON value arrives with its id, `false` included."""
    with app.ready("/channel/values") as client:
        id = app.emit("values", value)
        event = client.next()

        assert (event.event, json.loads(event.data), event.last_event_id) == ("message", value, id)


def test_an_emitted_event_has_its_name(app):
    """`emit(…, event="order")` sets the name for addEventListener("order")."""
    with app.ready("/channel/names") as client:
        app.emit("names", 1, event="order")

        assert client.next().event == "order"


def test_everyone_on_the_channel_gets_it_and_nobody_else(app):
    """All clients of a channel get its messages, and no client of another channel does."""
    with (
        app.ready("/channel/all") as one,
        app.ready("/channel/all") as two,
        app.ready("/channel/other") as other,
    ):
        app.emit("all", 1)
        app.emit("other", 2)

        assert [one.next_data(), two.next_data(), other.next_data()] == [1, 1, 2]


def test_many_channels_and_patterns(app):
    """A stream of several channels and patterns gets each message once and in order."""
    with app.ready("/channels?name=m1&name=m2&name=m:*&name=m:x") as client:
        for number, channel in enumerate(["m2", "m1", "m:x", "m:y", "m3", "redis:m1"]):
            app.emit(channel, number)

        assert [client.next_data() for _ in range(5)] == [0, 1, 2, 3, 5]


def test_a_value_of_the_url_is_no_pattern(app):
    """`/channel/*` receives only the channel named `*`."""
    with app.ready("/channel/*") as client:
        app.emit("anything", 1)
        app.emit("*", 2)

        assert client.next_data() == 2


def test_a_view_refuses(app):
    """A view that aborts or returns a response opens no stream."""
    assert app.request("GET", "/user/eve")[0] == 403
    assert app.request("GET", "/user/mallory")[::2] == (401, {"error": "no"})
    with app.ready("/user/bob") as client:
        app.emit("user:bob:notifications", "hi")

        assert client.next_data() == "hi"


def test_a_hostile_channel_is_an_error_of_the_request(app):
    """A line end in a URL's value reaches neither Redis nor a frame; nor does a reserved name."""
    assert app.request("GET", "/callback/a%00b")[0] == 400
    assert app.request("GET", "/channel/redis:audit")[0] == 400
    assert app.request("GET", "/channel/%24ticks")[0] == 400
    assert app.request("GET", "/channels?name=a%0Adata:x")[0] == 500
    assert app.request("GET", "/channels")[0] == 500


def test_stream_response_in_any_view(app):
    """`redis_event` makes a stream in any view, with its options."""
    with app.ready("/response?name=r1&name=r2") as client:
        app.emit("r2", 1)

        assert client.next_data() == 1
        assert client.until(lambda event: event.event == "heartbeat")


def test_heartbeats_carry_the_position(app):
    """Heartbeats carry the position, so an idle browser's cursor moves."""
    with app.ready("/response?name=idle") as client:
        id = app.emit("elsewhere", 1)
        heartbeat = client.until(lambda event: event.event == "heartbeat")

        assert Position.parse(heartbeat.last_event_id) <= Position.parse(id)
        assert json.loads(heartbeat.data) == {"id": heartbeat.last_event_id}


def is_at(position: str, id: str) -> bool:
    found = Position.parse(position)
    return found is not None and found >= Position.parse(id)


@pytest.mark.parametrize("path", ["/foreign/x", "/busy/x"])
def test_frames_without_ids_keep_no_cursor_back(app, path):
    """Heartbeats come even between frames without ids, so that the cursor does not expire."""
    stop = threading.Event()

    def publish() -> None:
        while not stop.wait(0.05):
            app.publish("x", b"foreign")

    with app.ready(path) as client, app.ready("/channel/y") as other:
        publisher = threading.Thread(target=publish)
        publisher.start()
        try:
            id = app.emit("y", "elsewhere")
            assert other.next_data() == "elsewhere"
            client.until(
                lambda event: event.event == "heartbeat" and is_at(event.last_event_id, id)
            )
        finally:
            stop.set()
            publisher.join()

        assert any(event.event == "message" for event in client.events)


def test_without_history_there_are_no_ids(app):
    """Without history neither messages nor heartbeats have an id."""
    with app.stream("/plain/noids") as client:
        ready = client.next()
        app.emit("noids", {"a": 1})

        assert (ready.event, ready.last_event_id) == ("ready", "")
        assert (client.next_data(), client.decoder.last_event_id) == ({"a": 1}, "")
        heartbeat = client.next()
        assert (heartbeat.event, heartbeat.data) == ("heartbeat", "{}")
        assert client.decoder.last_event_id == ""


def test_a_backlog_comes_first(app):
    """With `backlog`, a new client gets the last messages first, and then live ones."""
    for number in range(5):
        app.emit("log", number)
    with app.ready("/backlog/log") as client:
        app.emit("log", 5)

        assert [client.next_data() for _ in range(4)] == [2, 3, 4, 5]


def test_who_comes_back_gets_what_was_missed(app):
    """A client that sends its last id, as header or in the query, gets the missed messages."""
    with app.ready("/channel/resume") as client:
        app.emit("resume", 0)
        client.next_data()
        id = client.decoder.last_event_id
    for number in (1, 2):
        app.emit("resume", number)
    with app.ready("/channel/resume", last_event_id=id) as client:
        app.emit("resume", 3)

        assert [client.next_data() for _ in range(3)] == [1, 2, 3]
    with app.ready(f"/channel/resume?last_event_id={id}") as client:
        assert [client.next_data() for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("id", ["nonsense", "0-0", "1-1", "99999999999999-0", "1-1 x", "x" * 500])
def test_a_strange_id_is_a_reset(app, id):
    """A client with a strange id gets a stream that begins with `reset`."""
    with app.ready("/channel/strange", last_event_id=id) as client:
        assert client.next().event == "reset"
        app.emit("strange", 1)
        assert client.next_data() == 1


@pytest.mark.parametrize("kind", ["callback", "once", "pull", "iterate"])
def test_a_reset_reaches_every_kind_of_stream(app, kind):
    """A `reset` reaches the browser whichever code fills the stream."""
    with app.ready(f"/{kind}/strange", last_event_id="nonsense") as client:
        assert client.next().event == "reset"


def test_the_callback_contract(app):
    """A callback's value is sent, None and an error skip the message, and False ends the stream."""
    with app.ready("/callback/cb") as client:
        for message in ("a", "skip", "raise", "unserialisable", "named", "two", "false", "never"):
            id = app.emit("cb", message)
        got = [client.next() for _ in range(6)]

        assert [(event.event, json.loads(event.data)) for event in got] == [
            ("message", ["cb", "a"]),
            ("special", {"is": "named"}),
            ("part", "first of two"),
            ("message", "second of two"),
            ("message", "final"),
            ("end", {}),
        ]
        # Only the last frame of a message moves the cursor.
        assert got[2].last_event_id == got[1].last_event_id
        assert got[3].last_event_id > got[2].last_event_id
        assert got[5].last_event_id.endswith(".end")
        assert Position.parse(got[4].last_event_id) < Position.parse(id)
        assert client.wait_closed()


def test_a_callback_terminates(app):
    """event.terminate() ends the stream after the value that the callback returns."""
    with app.ready("/callback/terminate") as client:
        app.emit("terminate", "terminate")

        assert client.next_data() == "last words"
        assert client.next().event == "end"
        assert client.wait_closed()


def test_a_finished_stream_is_not_opened_again(app):
    """An EventSource that reconnects after the end gets a 204, which stops it for good."""
    with EventSource(app.url + "/callback/finish") as source:
        source.wait_for(lambda events: len(events) == 1)
        app.emit("finish", "false")

        assert source.wait_stopped() == 204
        assert [event.event for event in source.events] == ["ready", "message", "end"]


def test_callbacks_run_in_short_app_contexts(app):
    """Each call of a callback has its own app context, which ends with the call."""
    with app.ready("/callback/contexts") as client:
        before = app.state()["teardowns"]
        for number in range(3):
            app.emit("contexts", number)
            client.next_data()
        after = app.state()["teardowns"]

        # Three emits, three callbacks and one request of the state, each with a context of its own.
        assert after - before >= 7


def test_a_generator_pulls_messages(app):
    """A generator gathers messages, and yields when none arrives for a while."""
    with app.ready("/pull/pulled") as client:
        ids = [app.emit("pulled", number) for number in range(3)]
        batches = [client.next_data()["batch"]]
        while sum(map(len, batches)) < 3:
            batches.append(client.next_data()["batch"])

        assert [pair for batch in batches for pair in batch] == [["pulled", n] for n in range(3)]
        assert client.decoder.last_event_id == ids[2]
        assert client.until(lambda event: event.event == "heartbeat")


@pytest.mark.parametrize("path", ["/callback/exit", "/once/exit", "/pull/exit"])
def test_what_is_no_exception_ends_no_stream(app, path):
    """After a BaseException such as SystemExit, the message is skipped and the stream goes on."""
    with app.ready(path) as client:
        app.emit("exit", "exit")
        id = app.emit("exit", "after")

        assert client.until(lambda event: event.event == "message").data
        assert client.decoder.last_event_id >= id


def test_a_generator_with_the_wrong_arguments_is_told(app):
    """A generator with wrong arguments ends its stream instead of leaving it silent."""
    with app.ready("/mistaken/x") as client:
        assert client.wait_closed()
        assert client.events[-1].data == '{"reason":"failed"}'


def test_a_generator_that_fails_begins_anew(app):
    """A failing generator is started again; when it returns, the stream ends for good."""
    with app.ready("/pull/failing") as client:
        app.emit("failing", "raise")
        app.emit("failing", "a")

        assert client.next_data() == {"batch": [["failing", "a"]]}
        app.emit("failing", "end")
        assert client.next_data() == {"batch": [], "last": True}
        assert client.until(lambda event: event.event == "end")
        assert client.wait_closed()
    assert "A generator that fails." in app.server.log


def test_a_generator_that_fails_to_clean_up_begins_anew(app):
    """A generator's clean-up has an app context; an error in it is logged and ends no stream."""
    with app.ready("/untidy/x") as client:
        app.emit("x", "unserialisable")
        app.emit("x", "after")

        assert client.next_data() == "after"
    assert "A generator of tests.support.apps.streams that fails to clean up." in app.server.log


def test_what_a_generator_holds_back_is_given_again(app):
    """Heartbeats do not move the cursor past messages that the generator holds or has not taken."""
    with app.ready("/hold/held") as client:
        ids = app.request("POST", "/emit-many/held", [1, 2, 3])[2]["ids"]
        assert client.next_data() == 1
        assert [client.next().event for _ in range(2)] == ["heartbeat", "heartbeat"]
        assert client.decoder.last_event_id == ids[0]
    with app.ready("/channel/held", last_event_id=ids[0]) as again:
        assert [again.next_data(), again.next_data()] == [2, 3]


def test_a_generator_iterates(app):
    """`for message in messages` waits for each message."""
    with app.ready("/iterate/numbers") as client:
        for number in (1, 2):
            app.emit("numbers", number)

        assert [client.next_data(), client.next_data()] == [2, 4]


def test_polling(app):
    """A poll runs at once and then on its interval; its results act as a callback's."""
    with app.ready("/poll") as client:
        assert [client.next_data() for _ in range(3)] == [0, 3, 4]
        assert client.next().event == "end"
        assert client.wait_closed()


def test_a_shared_poll_has_one_producer(app):
    """Clients of a shared poll get the same values, and a new one the latest at once."""
    with app.ready("/shared") as one:
        first = one.next_data()
        with app.ready("/shared") as two:
            shared = [two.next_data() for _ in range(3)]
            seen = [first, *(one.next_data() for _ in range(4))]

            assert set(shared) & set(seen)
            assert max(shared) - min(shared) <= 3


def test_an_idle_poll_has_heartbeats(app):
    """An idle poll sends heartbeats, which have no position."""
    with app.ready("/quiet") as client:
        assert [client.next().event for _ in range(2)] == ["heartbeat", "heartbeat"]
        assert client.decoder.last_event_id == ""


def test_a_short_stream_is_opened_again(app):
    """max_age asks the browser to reconnect, and it resumes."""
    with EventSource(app.url + "/short/aged") as source:
        source.wait_connected(2)
        app.emit("aged", 1)
        events = source.wait_for(lambda events: any(e.event == "message" for e in events))

        assert [e.event for e in events[:2]] == ["ready", "reconnect"]
    wait_until(lambda: "max age" in app.state()["closed"])


def test_a_stream_says_hello(app):
    """The value that on_open returns is the first message."""
    with app.ready("/open/hello") as client:
        assert client.next_data() == {"hello": ["hello"]}


@pytest.mark.parametrize("query", ["", "?callback=1"])
def test_the_end_of_a_response_is_told(app, query):
    """Functions given to `Response.call_on_close` are called once, when the stream has ended."""
    name = "told-called" if query else "told-plain"
    with app.ready(f"/finalized/{name}{query}") as client:
        app.emit(name, 1)
        assert client.next_data() == 1
        assert f"finalized {name}" not in app.state()["closed"]
    expected = [f"finalized {name}", f"and {name}"]
    wait_until(lambda: [one for one in app.state()["closed"] if name in one] == expected)
    assert app.request("HEAD", f"/finalized/{name}{query}")[0] == 200
    wait_until(lambda: [one for one in app.state()["closed"] if name in one] == expected * 2)


@pytest.mark.parametrize(
    "payload, data",
    [
        (b'{"id": 7}', '{"id": 7}'),
        (b"hello", "hello"),
        (b"two\nlines\r\nand three", "two\nlines\nand three"),
        (b"\xff\xfe", "��"),
        (b"", ""),
        (b"id: 1\nevent: end\n\n", "id: 1\nevent: end\n\n"),
    ],
    ids=repr,
)
def test_foreign_publishers(app, payload, data):
    """A payload of another program arrives as data, and cannot set other fields."""
    with app.ready("/channel/foreign") as client:
        app.publish("foreign", payload)
        event = client.next()

        assert (event.event, event.data) == ("message", data)


def test_a_large_message_arrives(app):
    """An event of almost 1 MiB, which is the limit, arrives."""
    with app.ready("/channel/large") as client:
        app.emit("large", "x" * (2**20 - 100))

        assert len(client.next_data()) == 2**20 - 100


def test_listeners_hear(app):
    """`@events.on` receives messages in the worker, and goes on after an error."""
    app.state()
    wait_until(lambda: app.redis.pubsub_numpat() >= 1)
    for message in ("a", "raise", "exit", "b"):
        app.emit("heard:x", message)
    wait_until(
        lambda: (
            [entry[1:] for entry in app.state()["heard"]] == [["heard:x", "a"], ["heard:x", "b"]]
        )
    )


def test_a_head_request_leaks_nothing(app):
    """A HEAD request has the stream's headers, and opens no stream."""
    before = app.state()["streams"]
    status, headers, _ = app.request("HEAD", "/channel/head")

    assert (status, headers["Content-Type"]) == (200, "text/event-stream")
    assert app.state()["streams"] == before
    assert app.subscribers("head") == 0
