"""From a request to a response."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask, g, request
from flask.testing import FlaskClient
from werkzeug.routing import BaseConverter
from werkzeug.test import create_environ
from werkzeug.wrappers import Response

from flask_redis_events import ConfigError, RedisEvents, ServerSentEvent, signals
from flask_redis_events.testing import read_events
from flask_redis_events.wire.sse import CONTROL_EVENTS, Decoder

events = RedisEvents()


@pytest.fixture
def client(prefix: str) -> Iterator[FlaskClient]:
    app = Flask(__name__)
    app.config["REDIS_EVENTS_URL"] = f"memory://{prefix}"
    events.init_app(app)

    @app.get("/stream")
    @events.stream("orders")
    def stream() -> None:
        """Stream the orders."""

    with app.app_context():
        yield app.test_client()
        events.hub.close()


@pytest.mark.parametrize(
    "header, query, begins_after",
    [
        pytest.param(1, {}, 1, id="the header"),
        pytest.param(None, {"last_event_id": 1}, 1, id="the page's parameter"),
        pytest.param(None, {"lastEventId": 1}, 1, id="a library's parameter"),
        pytest.param(2, {"lastEventId": 1, "last_event_id": 0}, 2, id="the header of all three"),
        pytest.param(2, {"last_event_id": 0}, 2, id="the header of two"),
        pytest.param(None, {"last_event_id": 0, "lastEventId": 1}, 1, id="the library's of two"),
        pytest.param(None, {"last_event_id": 1, "lastEventId": None}, 1, id="an empty one is none"),
    ],
)
def test_of_several_ids_the_newest_counts(client, header, query, begins_after):
    """The header wins over `lastEventId`, and `lastEventId` over the page's `last_event_id`."""
    ids = [events.emit("orders", number) for number in range(4)]
    response = client.get(
        "/stream",
        headers={} if header is None else {"Last-Event-ID": ids[header]},
        query_string={name: "" if at is None else ids[at] for name, at in query.items()},
    )

    assert read_events(response, 1)[0].data == str(begins_after + 1)


@pytest.mark.parametrize("name", ["last_event_id", "lastEventId"])
def test_an_end_in_the_query_is_the_end(client, name):
    """A client that was told of the end gets a 204 in whichever way it sends its id."""
    response = client.get("/stream", query_string={name: "5-1.end"})

    assert response.status_code == 204


# --- streams that are turned away ---------------------------------------------------------------


@pytest.mark.parametrize(
    "setting, reason", [("MAX_STREAMS", "full"), ("MAX_STREAMS_PER_CLIENT", "too many")]
)
def test_a_stream_that_is_turned_away_was_never_open(prefix: str, setting: str, reason: str):
    """Where a place is taken between the view and the first byte, nobody is told of a stream."""
    told: list[str] = []
    app = Flask(__name__)
    app.config.update({"REDIS_EVENTS_URL": f"memory://{prefix}", f"REDIS_EVENTS_{setting}": 1})
    events.init_app(app)

    @app.get("/s")
    def s() -> Response:
        response = events.stream_response("a", on_close=lambda event, reason: told.append(reason))
        response.call_on_close(lambda: told.append("finalized"))
        return response

    def opened(sender: Flask, **what: Any) -> None:
        told.append("opened")

    def closed(sender: Flask, **what: Any) -> None:
        told.append("closed")

    def respond() -> Any:
        environ = create_environ("/s", environ_base={"REMOTE_ADDR": "127.0.0.1"})
        return app.wsgi_app(environ, lambda *args: lambda data: None)

    with (
        app.app_context(),
        signals.stream_opened.connected_to(opened, app),
        signals.stream_closed.connected_to(closed, app),
    ):
        first, second = respond(), respond()
        assert b"event: ready" in next(iter(first))
        (frame,) = second
        second.close()

        assert b"event: reconnect" in frame
        assert reason.encode() in frame
        assert told == ["opened", "finalized"]
        assert events.hub.metrics[f"refused.{reason}"] == 1
        first.close()
        assert told == ["opened", "finalized", "gone", "finalized", "closed"]
        events.hub.close()


def test_no_proxy_keeps_an_answer_without_a_stream(client: FlaskClient):
    """The 204 after the end may be wrong a moment later, for another client."""
    response = client.get("/stream", headers={"Last-Event-ID": "5-1.end"})

    assert response.status_code == 204
    assert "no-store" in response.headers["Cache-Control"]


# --- how often a client may resume ----------------------------------------------------------------


@pytest.mark.parametrize("who, address", [("ann", "10.0.0.1"), (None, "ann")])
def test_only_who_resumes_too_often_is_turned_away(prefix, who, address):
    """An identity has a rate of its own, and so has the address of clients that have none."""
    app = Flask(__name__)
    app.config.update(REDIS_EVENTS_URL=f"memory://{prefix}", REDIS_EVENTS_RESUME_RATE=2)
    events = RedisEvents(app)

    @app.get("/stream")
    @events.stream("orders", identity=lambda: request.args.get("who"))
    def stream() -> None:
        """Stream the orders."""

    def get(who: str | None, address: str, id: str | None, accept: str = "text/event-stream"):
        return app.test_client().get(
            "/stream",
            query_string={} if who is None else {"who": who},
            headers={"Accept": accept, **({"Last-Event-ID": id} if id else {})},
            environ_base={"REMOTE_ADDR": address},
            buffered=False,
        )

    def first(who: str | None, address: str, id: str | None) -> str:
        """Return the name of the first event."""
        with get(who, address, id) as response:
            return Decoder().feed(next(response.iter_encoded()))[0].event

    with app.app_context():
        id = events.emit("orders", 0)
        got = [first(who, address, id) for _ in range(3)]
        others = [first("ben", address, id), first(None, "10.0.0.2", id), first(who, address, None)]
        refused = get(who, address, id, "application/json")
        events.hub.close()

    assert got == ["ready", "ready", "reconnect"]
    assert others == ["ready", "ready", "ready"]
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) >= 10


# --- which clients share a function ---------------------------------------------------------------


class Views:
    """An application whose clients are told in whose request the function was made."""

    def __init__(self, name: str) -> None:
        self.app = Flask(__name__)
        self.app.config["REDIS_EVENTS_URL"] = f"memory://{name}"
        self.app.testing = True
        self.events = RedisEvents(self.app)
        self._opened = ExitStack()

    def hears(self, path: str, **options: Any) -> Any:
        """Open a stream, which stays open, and return the first value that it sends."""
        stack, client = self._opened, self.app.test_client()
        response = client.get(path, buffered=False, **options)
        stack.callback(response.close)
        decoder = Decoder()
        for chunk in response.iter_encoded():
            for event in decoder.feed(chunk):
                if event.event not in CONTROL_EVENTS:
                    return event.data.strip('"')
        raise AssertionError(f"The stream ended: {response.status}.")

    def close(self) -> None:
        self._opened.close()
        with self.app.app_context():
            self.events.hub.close()


@pytest.fixture
def views(prefix: str) -> Iterator[Views]:
    views = Views(prefix)
    yield views
    views.close()


def test_clients_of_one_url_share_a_poll(views: Views):
    """`shared=True` calls the function of the first client for all of them."""

    @views.app.get("/s/<room>")
    @views.events.poll(interval=60, shared=True)
    def s(room: str) -> Callable[..., Any]:
        who = request.args["who"]
        return lambda event: who

    assert views.hears("/s/a?who=ada") == "ada"
    assert views.hears("/s/a?who=bob") == "ada"
    assert views.hears("/s/b?who=bob") == "bob"


def test_a_head_request_makes_no_shared_poll(views: Views):
    """Whoever asks for the head only is no client, for whom a function would be called."""
    made: list[str] = []

    @views.app.get("/s/<room>")
    @views.events.poll(interval=60, shared=True)
    def s(room: str) -> Callable[..., Any]:
        def function(event: Any) -> str:
            made.append(room)
            return room

        return function

    client = views.app.test_client()
    for number in range(50):
        with client.head(f"/s/{number}") as response:
            assert (response.status_code, response.mimetype) == (200, "text/event-stream")
    assert views.hears("/s/heard") == "heard"

    assert made == ["heard"]
    with views.app.app_context():
        assert len(views.events.hub.shared._groups) == 1


def test_clients_share_nothing_across_urls_whose_values_a_preprocessor_takes(views: Views):
    """The path counts, with all that a `url_value_preprocessor` takes out of the view's values."""

    @views.app.url_value_preprocessor
    def take_user(endpoint: str | None, values: dict[str, Any] | None) -> None:
        g.user = (values or {}).pop("user", None)

    @views.app.get("/<user>/s")
    @views.events.poll(interval=60, shared=True)
    def s() -> Callable[..., Any]:
        user = g.user
        return lambda event: user

    assert views.hears("/ada/s") == "ada"
    assert views.hears("/bob/s") == "bob"


def test_clients_share_nothing_across_values_that_a_preprocessor_adds(views: Views):
    """The view's values count, also where they are not of the path, and look alike."""

    class User:
        def __init__(self, name: str) -> None:
            self.name = name

        def __repr__(self) -> str:
            return "<User>"

    @views.app.url_value_preprocessor
    def add_user(endpoint: str | None, values: dict[str, Any] | None) -> None:
        assert values is not None
        values["user"] = User(request.args["who"])

    @views.app.get("/s")
    @views.events.poll(interval=60, shared=True)
    def s(user: User) -> Callable[..., Any]:
        return lambda event: user.name

    assert views.hears("/s?who=ada") == "ada"
    assert views.hears("/s?who=bob") == "bob"


def test_clients_share_nothing_across_converters_that_look_alike(views: Views):
    """Two URLs whose values have the same repr are two."""

    class Room:
        def __init__(self, name: str) -> None:
            self.name = name

        def __repr__(self) -> str:
            return "<Room>"

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 0

    class Rooms(BaseConverter):
        def to_python(self, value: str) -> Room:
            return Room(value)

    views.app.url_map.converters["room"] = Rooms

    @views.app.get("/s/<room:room>")
    @views.events.poll(interval=60, shared=True)
    def s(room: Room) -> Callable[..., Any]:
        return lambda event: room.name

    assert views.hears("/s/a") == "a"
    assert views.hears("/s/b") == "b"


@pytest.mark.parametrize(
    "one, other",
    [
        pytest.param({"base_url": "http://a"}, {"base_url": "http://b"}, id="hosts"),
        pytest.param({"base_url": "http://a/x"}, {"base_url": "http://a/y"}, id="script roots"),
    ],
)
def test_clients_share_nothing_across_hosts(views: Views, one: Any, other: Any):
    """A host, and the place that an application is mounted at, may stand for a tenant."""

    @views.app.get("/s")
    @views.events.poll(interval=60, shared=True)
    def s() -> Callable[..., Any]:
        tenant = request.host_url + request.root_path
        return lambda event: tenant

    assert views.hears("/s", **one) != views.hears("/s", **other)


def passed_on(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


def admin(*args: Any) -> str:
    return "admin"


def user(*args: Any) -> str:
    return "user"


@dataclass(frozen=True)
class Role:
    name: str

    def __call__(self, *args: Any) -> str:
        return self.name


FUNCTIONS = [
    pytest.param(admin, user, id="functions"),
    pytest.param(passed_on(admin), passed_on(user), id="decorated"),
    pytest.param(Role("admin"), Role("user"), id="objects that are called"),
    pytest.param(functools.partial(admin), functools.partial(user), id="partial"),
]


@pytest.mark.parametrize("for_admin, for_user", FUNCTIONS)
@pytest.mark.parametrize("kind", ["poll", "callback"])
def test_clients_share_nothing_across_functions(
    views: Views, kind: str, for_admin: Callable[..., Any], for_user: Callable[..., Any]
):
    """A view that returns one of two functions has two groups of clients."""

    @views.app.get("/s")
    def s() -> Response:
        function = for_admin if "admin" in request.args else for_user
        if kind == "poll":
            return views.events.poll_response(function, interval=60, shared=True)
        return views.events.stream_response("a", function, shared=True, backlog=1)

    views.events.emit("a", 1)

    assert views.hears("/s?admin") == "admin"
    assert views.hears("/s") == "user"


def test_a_shared_poll_is_told_of_no_client(views: Views):
    """The first client's `Last-Event-ID` is not the others'."""

    @views.app.get("/s")
    @views.events.poll(interval=60, shared=True)
    def s() -> Callable[..., Any]:
        return lambda event: str(event.last_event_id)

    assert views.hears("/s", headers={"Last-Event-ID": "secret"}) == "None"


# --- shared=<function> ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["poll", "callback"])
def test_a_key_says_who_shares(views: Views, kind: str):
    """Clients whose keys are equal share one call, whatever their URLs; others do not."""
    called: list[str] = []

    @views.app.get("/s/<name>")
    def s(name: str) -> Response:
        def function(*args: Any) -> str:
            called.append(name)
            return name

        def role() -> Any:
            return (request.args["role"], 1)

        if kind == "poll":
            return views.events.poll_response(function, interval=60, shared=role)
        return views.events.stream_response("a", function, shared=role)

    with ExitStack() as opened:
        first = opened.enter_context(listening(views, "/s/ada?role=admin"))
        second = opened.enter_context(listening(views, "/s/bob?role=admin"))
        third = opened.enter_context(listening(views, "/s/eve?role=user"))
        views.events.emit("a", 1)

        assert [next(first), next(second), next(third)] == ["ada", "ada", "eve"]
        assert sorted(called) == ["ada", "eve"]


@contextmanager
def listening(views: Views, path: str) -> Iterator[Iterator[str]]:
    """Open a stream; the values that it sends can be taken one after the other."""
    response = views.app.test_client().get(path, buffered=False)
    chunks, decoder = response.iter_encoded(), Decoder()

    def values() -> Iterator[str]:
        for chunk in chunks:
            for event in decoder.feed(chunk):
                if event.event not in CONTROL_EVENTS:
                    yield event.data.strip('"')

    with response:
        decoder.feed(next(iter(chunks)))
        yield values()


def test_clients_of_a_key_still_have_their_own_channels(views: Views):
    """A key does not make a client share the messages of channels that are not its own."""

    @views.app.get("/s/<name>")
    @views.events.stream("{name}", shared=lambda: "all", backlog=1)
    def s(name: str) -> Callable[..., Any]:
        return lambda channel, message, event: ServerSentEvent(channel)

    views.events.emit("a", 1)
    views.events.emit("b", 1)

    assert [views.hears("/s/a"), views.hears("/s/b")] == ["a", "b"]


def test_a_key_may_refuse(views: Views):
    """The function runs in the view's request, so that it may abort, as the view itself may."""

    @views.app.get("/s")
    @views.events.poll(shared=lambda: request.args["role"])
    def s() -> Callable[..., Any]:
        return lambda event: 1

    views.app.testing = False

    assert views.app.test_client().get("/s").status_code == 400


@pytest.mark.parametrize("wrong", [[1], {"role": "admin"}, ("admin", [])], ids=repr)
def test_a_key_that_cannot_be_compared_is_an_error(views: Views, wrong: Any):
    """The error shows the key, and says what to return."""

    @views.app.get("/s")
    @views.events.poll(shared=lambda: wrong)
    def s() -> Callable[..., Any]:
        return lambda event: 1

    with pytest.raises(ConfigError, match="returns a str, a number, or a tuple") as caught:
        views.app.test_client().get("/s")

    assert repr(wrong) in str(caught.value)


def test_values_that_cannot_be_compared_are_an_error(views: Views):
    """Where the URL's values cannot tell clients apart, the error says what can."""

    class Names(BaseConverter):
        def to_python(self, value: str) -> list[str]:
            return value.split("+")

    views.app.url_map.converters["names"] = Names

    @views.app.get("/s/<names:names>")
    @views.events.poll(shared=True)
    def s(names: list[str]) -> Callable[..., Any]:
        return lambda event: 1

    with pytest.raises(ConfigError, match="give it a function that returns a str"):
        views.app.test_client().get("/s/a+b")
