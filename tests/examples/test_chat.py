"""The chat: what is said stays, who is there is shown, and typing passes."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from examples.accounts import User, db
from examples.accounts.models import new_session
from examples.chat import messages
from examples.chat.messages import events
from flask_redis_events.testing import hear, read_events
from flask_redis_events.wire import Decoder
from tests.support.waiting import wait_until

from .conftest import HTML, JSON, MakeApp, got, user

LOBBY = "/rooms/lobby"


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    return make_app("chat")


def say(client: FlaskClient, text: str, room: str = LOBBY) -> None:
    assert client.post(f"{room}/messages", json={"text": text}).status_code == 200


def enter(client: FlaskClient, name: str, room: str = LOBBY, **query: str) -> Any:
    stream = client.get(f"{room}/stream/{name}", query_string=query)
    assert stream.status_code == 200
    return stream


def until(response: Any, name: str) -> Any:
    """Return the data of the stream's next event of this name; others come and go meanwhile."""
    decoder = Decoder()
    with response:
        for data in response.response:
            for event in decoder.feed(data):
                if event.event == name:
                    return json.loads(event.data)
    raise AssertionError(f"The stream has ended without {name}.")


def test_a_message_arrives_and_is_kept(app: Flask):
    """It is escaped in the stream, in the page and in the state alike."""
    ada, bob = user(app, "ada"), user(app, "bob")
    stream = enter(bob, "bob")

    say(ada, "<script>hello()</script>")

    said = until(stream, "message")
    assert "&lt;script&gt;hello()" in said["html"]
    assert said["html"] in bob.get(LOBBY, headers=HTML).text
    assert got(bob, f"{LOBBY}/state")["messages"] == [said["html"]]


def test_nothing_is_lost_between_the_page_and_its_stream(app: Flask):
    """A message after the page was rendered and before its stream is open arrives."""
    ada, bob = user(app, "ada"), user(app, "bob")
    say(ada, "before")
    position = got(bob, f"{LOBBY}/state")["position"]
    say(ada, "between")

    stream = enter(bob, "bob", last_event_id=position)

    assert "between" in until(stream, "message")["html"]


def test_rooms_are_apart(app: Flask):
    """A room has its own messages, and the list of rooms has each once."""
    ada = user(app, "ada")
    for room in ("kitchen", "garden", "kitchen"):
        say(ada, f"in the {room}", f"/rooms/{room}")

    assert len(got(ada, "/rooms/kitchen/state")["messages"]) == 2
    assert got(ada, f"{LOBBY}/state")["messages"] == []
    page = ada.get(LOBBY, headers=HTML).text
    assert page.count('href="/rooms/kitchen"') == 1
    assert ada.get("/?room=Big+Hall").location == "/rooms/big-hall"


@pytest.mark.parametrize("room", ["*", "a%0Ab", "Lobby", "l%C3%B6bby", "x" * 25])
def test_a_room_is_no_pattern(app: Flask, room: str):
    """A name that could be a pattern, or be mistaken for another one, is no room."""
    ada = user(app, "ada")

    for path in ("", "/stream/ada", "/state"):
        assert ada.get(f"/rooms/{room}{path}").status_code == 404


def test_older_messages_are_loaded_in_pages(app: Flask):
    """A page has the newest; the older ones follow, without a gap and without an overlap."""
    ada = user(app, "ada")
    for number in range(70):
        say(ada, f"number {number}.")

    pages = [got(ada, f"{LOBBY}/state")["messages"]]
    for first in (41, 11):
        pages.insert(0, got(ada, f"{LOBBY}/messages/{first}")["messages"])

    assert [len(page) for page in pages] == [10, 30, 30]
    for number, message in enumerate(message for page in pages for message in page):
        assert f"number {number}." in message


def test_the_members_are_those_with_a_stream(app: Flask):
    """Who comes is told to those who are there, and a page names who is there."""
    ada, bob = user(app, "ada"), user(app, "bob")
    stream = enter(ada, "ada")

    with enter(bob, "bob"):
        wait_until(lambda: got(ada, f"{LOBBY}/state")["members"] == ["ada", "bob"])

    joined = {json.loads(event.data)["identity"] for event in read_events(stream, 2)}
    assert joined == {"ada", "bob"}


def test_a_stream_is_of_the_user(app: Flask):
    """Nobody listens without an account, or on the page of another user."""
    user(app, "ada")

    assert app.test_client().get(f"{LOBBY}/stream/ada").status_code == 401
    assert user(app, "bob").get(f"{LOBBY}/stream/ada").status_code == 403


def test_typing_is_told_now_and_then(app: Flask, monkeypatch: pytest.MonkeyPatch):
    """Many keys are one event; a message makes the next key one again; nothing is kept."""
    monkeypatch.setattr(messages, "_typed_at", {})
    ada, bob = user(app, "ada"), user(app, "bob")
    with hear(app, "chat:lobby") as heard:
        for client in (ada, ada, bob, ada):
            assert client.post(f"{LOBBY}/typing").status_code == 204
        say(ada, "hello")
        ada.post(f"{LOBBY}/typing")

        told = [value.get("name") for _, value in heard.wait(4)]

    assert told == ["ada", "bob", None, "ada"]
    with app.app_context():
        assert len(list(events.history("chat:lobby"))) == 1


def test_typing_is_forgotten(app: Flask, monkeypatch: pytest.MonkeyPatch):
    """What was told long ago takes no memory, in however many rooms it was."""
    told: dict[tuple[int, str], float] = {}
    monkeypatch.setattr(messages, "_typed_at", told)
    monkeypatch.setattr(messages, "TYPING_EVERY", 0)
    ada = user(app, "ada")
    for number in range(5):
        assert ada.post(f"/rooms/room-{number}/typing").status_code == 204

    assert len(told) == 1


def test_signing_out_ends_the_streams(app: Flask):
    """The streams of all rooms end for good, and those of other users go on."""
    ada, bob = user(app, "ada"), user(app, "bob")
    streams = [enter(ada, "ada"), enter(ada, "ada", "/rooms/kitchen")]
    other = enter(bob, "bob")

    ada.post("/sign-out")
    say(bob, "still here")

    for stream in streams:
        until(stream, "end")
    assert "still here" in until(other, "message")["html"]


def test_a_stream_ends_whose_session_has_ended(make_app: MakeApp):
    """Nobody was told, as when Redis is away, or the stream was opened in that very moment."""
    app = make_app("chat", REDIS_EVENTS_HEARTBEAT=0.2)
    stream = enter(user(app, "ada"), "ada")
    with app.app_context():
        User.named("ada").session = new_session()
        db.session.commit()

    until(stream, "end")


@pytest.mark.parametrize("body", [{}, {"text": " "}, {"text": 7}, {"text": "x" * 501}])
def test_a_wrong_message_is_refused(app: Flask, body: Any):
    """The answer says how a message must be."""
    answer = user(app, "ada").post(f"{LOBBY}/messages", json=body, headers=JSON)

    assert answer.status_code == 400
    assert answer.json == {"error": "A message has 1 to 500 characters."}


def test_a_stream_holds_no_connection_to_the_database(make_app: MakeApp):
    """With a pool of one connection, many open streams receive, and pages are answered."""
    pool = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 1}
    app = make_app("chat", SQLALCHEMY_ENGINE_OPTIONS=pool)
    ada = user(app, "ada")
    with ExitStack() as stack:
        streams = [enter(ada, "ada") for _ in range(5)]
        for stream in streams:
            stack.callback(stream.close)
        say(ada, "to all five")

        for stream in streams:
            assert "to all five" in until(stream, "message")["html"]
        assert ada.get(LOBBY, headers=HTML).status_code == 200
        with app.app_context():
            assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
