"""`reset` and `refresh` in the words of the page's library."""

from __future__ import annotations

import pytest

from flask_redis_events.wire import Batch, Form, Message, Position, ServerSentEvent, control
from flask_redis_events.wire.control import Loss
from flask_redis_events.wire.data import MARK
from flask_redis_events.wire.dialects import DIALECTS
from flask_redis_events.wire.run import begun
from flask_redis_events.wire.sse import Event, decode

REFRESH = '<turbo-stream action="refresh"></turbo-stream>'


def refresh(number: int, *, first: bool = False) -> Message:
    frame = ServerSentEvent({}, event="refresh").encode()
    return Message.numbered("a", begun(frame) if first else frame, Position(number))


def spoken(batch: Batch, dialect: str, *, numbered: bool = True) -> list[Event]:
    return decode(batch.encode(Form(numbered, dialect=dialect)))


@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize(
    "batch, event",
    [
        pytest.param(control.reset("expired"), "reset", id="reset"),
        pytest.param(Loss("overflow", Position(7), position=Position(7)), "reset", id="loss"),
        pytest.param(Batch([refresh(7)]), "refresh", id="refresh"),
        pytest.param(Batch([refresh(7, first=True)]), "refresh", id="first of a run"),
    ],
)
def test_turbo_is_told_to_refresh(batch, event, numbered):
    """Turbo's words are an unnamed event before the one that they repeat."""
    told, own = spoken(batch, "turbo", numbered=numbered)

    assert (told.event, told.data) == ("message", REFRESH)
    assert own.event == event
    # A client that is cut off in between has no id of it yet.
    data = batch.encode(Form(numbered, dialect="turbo"))
    assert data == f"data: {REFRESH}\n\n".encode() + batch.encode(Form(numbered))


def test_datastar_is_told_with_signals():
    """Signals of Datastar act when they change, so a refresh is two patches."""
    *told, _ = spoken(Batch([refresh(7)]), "datastar")

    assert {event.event for event in told} == {"datastar-patch-signals"}
    assert [event.data for event in told] == [
        'signals {"_refresh":false}',
        'signals {"_refresh":true}',
    ]
    assert spoken(control.reset("expired"), "datastar")[0].data == 'signals {"_reset":true}'


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_id_comes_last(dialect):
    """A client that is cut off after the words gets them again, because it has no id yet."""
    batch = Batch([refresh(7), refresh(8)])
    events = spoken(batch, dialect)
    *told, own = events[: len(events) // 2]

    assert {event.last_event_id for event in told} == {""}
    assert own.last_event_id == "7-0"
    assert events[-1].last_event_id == "8-0"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "event",
    [
        pytest.param(ServerSentEvent("x"), id="unnamed"),
        pytest.param(ServerSentEvent({}, event="refreshed"), id="another name"),
        pytest.param(ServerSentEvent(raw="a\nevent: refresh\nid: 7\n\n"), id="data like an event"),
    ],
)
def test_other_events_are_as_they_were(dialect, event):
    """Nothing is put before any other event, whatever its data is."""
    message = Message.numbered("a", MARK * event.is_raw + event.encode(), Position(7))
    for batch in (Batch([message]), control.heartbeat(Position(7))):
        assert batch.encode(Form(dialect=dialect)) == batch.encode(Form())


def test_a_raw_refresh_is_one_too():
    """An application may emit a `refresh` of its own, with data."""
    event = ServerSentEvent(raw="<p>", event="refresh", retry=5)
    message = Message.numbered("a", MARK + event.encode(), Position(7))

    assert [one.data for one in spoken(Batch([message]), "turbo")] == [REFRESH, "<p>"]


def test_chunks_hold_the_words():
    """The length of a chunk counts the words, too."""
    batch = control.reset("expired")
    chunk = batch.encode(Form(chunked=True, dialect="turbo"))
    length, _, rest = chunk.partition(b"\r\n")

    assert rest == batch.encode(Form(dialect="turbo")) + b"\r\n"
    assert int(length, 16) == len(rest) - 2
