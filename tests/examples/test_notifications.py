"""Notifications: stored, private, counted, and the same in all tabs."""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update

from examples.accounts import User, db
from examples.notifications.notes import Note, events, notify
from flask_redis_events.testing import read_events

from .conftest import HTML, JSON, MakeApp, got, user


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    return make_app("notifications")


def stream_of(app: Flask, name: str) -> str:
    with app.app_context():
        found = User.named(name)
        assert found is not None
        return f"/stream/{found.id}"


def send(client: FlaskClient, text: str, to: str = "ada") -> None:
    assert client.post("/notify", json={"to": to, "text": text}).status_code == 204


def read(response: Any, count: int) -> list[tuple[str, Any]]:
    return [(event.event, json.loads(event.data)) for event in read_events(response, count)]


def test_a_stream_is_private(app: Flask):
    """Nobody is asked to sign in with 401, and another user is refused with 403."""
    user(app, "ada")
    path = stream_of(app, "ada")

    assert app.test_client().get(path).status_code == 401
    assert user(app, "bob").get(path).status_code == 403


def test_a_note_arrives_and_is_kept(app: Flask):
    """The stream shows the note with the count, and the page has it after that."""
    ada, bob = user(app, "ada"), user(app, "bob")
    stream = ada.get(stream_of(app, "ada"))

    send(bob, "<script>hello()</script>")

    [(name, note)] = read(stream, 1)
    assert (name, note["unread"]) == ("note", 1)
    assert "&lt;script&gt;" in note["html"]
    assert note["html"] in ada.get("/", headers=HTML).text
    assert "hello()" not in bob.get("/", headers=HTML).text


def test_nothing_is_lost_between_the_page_and_its_stream(app: Flask):
    """A note that is made after the page was rendered and before its stream is open arrives."""
    ada, bob = user(app, "ada"), user(app, "bob")
    send(bob, "before")
    position = got(ada, "/state")["position"]
    send(bob, "between")

    stream = ada.get(stream_of(app, "ada"), query_string={"last_event_id": position})
    send(bob, "after")

    texts = [note["html"] for _, note in read(stream, 2)]
    assert ["between" in texts[0], "after" in texts[1]] == [True, True]


def test_reading_is_told_to_all_tabs(app: Flask):
    """One note, then all of them; what was read already is not told again."""
    ada, bob = user(app, "ada"), user(app, "bob")
    for number in range(3):
        send(bob, f"note {number}")
    tab = ada.get(stream_of(app, "ada"))

    assert ada.post("/read/2").status_code == 204
    assert ada.post("/read/2").status_code == 204
    assert ada.post("/read").status_code == 204

    assert read(tab, 2) == [
        ("read", {"ids": [2], "unread": 0}),
        ("read", {"ids": [1, 3], "unread": 0}),
    ]
    assert got(ada, "/state")["unread"] == 0


def test_nobody_reads_the_notes_of_another(app: Flask):
    """Somebody else's number changes nothing."""
    ada, bob = user(app, "ada"), user(app, "bob")
    send(bob, "for ada")

    assert bob.post("/read/1").status_code == 204
    assert bob.post("/read").status_code == 204

    assert got(ada, "/state")["unread"] == 1


def test_the_time_is_that_of_the_note(app: Flask):
    """A note of yesterday is of yesterday, whenever it is read or delivered."""
    ada, bob = user(app, "ada"), user(app, "bob")
    send(bob, "old")
    yesterday = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=1)
    with app.app_context():
        db.session.execute(update(Note).values(at=yesterday))
        db.session.commit()

    for _ in range(2):
        [note] = got(ada, "/state")["notes"]

        assert f'datetime="{yesterday.isoformat()}Z"' in note


def test_what_is_rolled_back_is_not_told(app: Flask, monkeypatch: pytest.MonkeyPatch):
    """A note whose transaction fails exists neither in the database nor in a page."""
    ada = user(app, "ada")
    stream = ada.get(stream_of(app, "ada"))
    with app.app_context():
        found = User.named("ada")
        assert found is not None
        with monkeypatch.context() as patched:
            patched.setattr(db.session, "commit", db.session.rollback)
            notify(found, "bob", "never")
        notify(found, "bob", "this one")

    [(_, note)] = read(stream, 1)
    assert "this one" in note["html"]
    with app.app_context():
        assert [note.text for note in db.session.scalars(select(Note))] == ["this one"]


def test_signing_out_ends_the_streams_of_all_tabs(app: Flask):
    """Both end for good, and what is sent afterwards does not reach them."""
    ada, bob = user(app, "ada"), user(app, "bob")
    tabs = [ada.get(stream_of(app, "ada")) for _ in range(2)]
    mine = bob.get(stream_of(app, "bob"))

    ada.post("/sign-out")
    send(bob, "too late")
    send(bob, "for bob", to="bob")

    for tab in tabs:
        assert [event.event for event in read_events(tab, 2, control=True)] == ["ready", "end"]
    assert "for bob" in read(mine, 1)[0][1]["html"]


def test_a_session_that_has_ended_elsewhere_ends_its_streams(make_app: MakeApp):
    """If Redis did not tell, a stream ends about a heartbeat later."""
    app = make_app("notifications", REDIS_EVENTS_HEARTBEAT=0.1)
    ada = user(app, "ada")
    tab = ada.get(stream_of(app, "ada"))
    with app.app_context():
        db.session.execute(update(User).values(session="another"))
        db.session.commit()

    names = {event.event for event in read_events(tab, 1000, control=True)}

    assert names <= {"ready", "heartbeat", "end"}
    assert "end" in names


@pytest.mark.parametrize(
    "body, status, error",
    [
        ({"to": "ada", "text": " "}, 400, "A note has 1 to 500 characters."),
        ({"to": "ada", "text": "x" * 501}, 400, "A note has 1 to 500 characters."),
        ({"to": 7, "text": "hello"}, 400, "A name has 1 to 24 characters."),
        ([], 400, "Post an object, as JSON."),
        ({"to": "nobody", "text": "hello"}, 404, "There is no user nobody."),
    ],
    ids=["blank", "long", "no text", "no object", "nobody"],
)
def test_a_wrong_note_is_refused(app: Flask, body: Any, status: int, error: str):
    """The answer says what is wrong."""
    answer = user(app, "ada").post("/notify", json=body, headers=JSON)

    assert (answer.status_code, answer.json) == (status, {"error": error})


def test_a_command_notifies(app: Flask):
    """The shell can notify a user, and says if there is none."""
    ada = user(app, "ada")
    stream = ada.get(stream_of(app, "ada"))

    told = app.test_cli_runner().invoke(args=["notify", "ada", "from cron"])
    failed = app.test_cli_runner().invoke(args=["notify", "nobody", "from cron"])

    assert told.exit_code == 0, told.output
    assert "from cron" in read(stream, 1)[0][1]["html"]
    assert (failed.exit_code, failed.output) == (1, "Error: There is no user nobody.\n")


def test_a_stream_holds_no_connection_to_the_database(make_app: MakeApp):
    """With a pool of one connection, many open streams receive, and pages are answered."""
    pool = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 1}
    app = make_app("notifications", SQLALCHEMY_ENGINE_OPTIONS=pool)
    ada, bob = user(app, "ada"), user(app, "bob")
    with ExitStack() as stack:
        streams = [ada.get(stream_of(app, "ada")) for _ in range(5)]
        for stream in streams:
            stack.callback(stream.close)
        send(bob, "to all five")

        for stream in streams:
            [(_, note)] = read(stream, 1)
            assert note["unread"] == 1
        assert ada.get("/", headers=HTML).status_code == 200
        with app.app_context():
            assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
            events.emit("user:0", {})
