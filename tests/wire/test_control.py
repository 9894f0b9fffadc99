"""The frames that speak of the stream itself."""

from __future__ import annotations

import json

import pytest

from flask_redis_events.wire import BEGINNING, Batch, Form, Position, control
from flask_redis_events.wire.control import Loss
from flask_redis_events.wire.sse import CONTROL_EVENTS, decode

AT = Position(5, 1)

#: Each frame, the bytes that a client is sent, and the position that the client's cursor moves to.
FRAMES = [
    pytest.param(
        control.ready(AT, retry=2, heartbeat=15),
        b'id: 5-1\nevent: ready\nretry: 2000\ndata: {"id":"5-1","heartbeat":15}\n\n',
        AT,
        id="ready",
    ),
    pytest.param(
        control.ready(BEGINNING, retry=0.001, heartbeat=0.5),
        b'id: 0-0\nevent: ready\nretry: 1\ndata: {"id":"0-0","heartbeat":0.5}\n\n',
        BEGINNING,
        id="ready at the beginning",
    ),
    pytest.param(
        control.ready(None, retry=1.2346, heartbeat=1.0),
        b'event: ready\nretry: 1235\ndata: {"heartbeat":1.0}\n\n',
        None,
        id="ready without ids",
    ),
    pytest.param(
        control.heartbeat(AT),
        b'id: 5-1\nevent: heartbeat\ndata: {"id":"5-1"}\n\n',
        AT,
        id="heartbeat",
    ),
    pytest.param(
        control.heartbeat(None),
        b"event: heartbeat\ndata: {}\n\n",
        None,
        id="heartbeat without ids",
    ),
    pytest.param(
        control.reset("trimmed"),
        b'event: reset\ndata: {"reason":"trimmed"}\n\n',
        None,
        id="reset",
    ),
    pytest.param(
        Loss("trimmed", AT),
        b'event: reset\ndata: {"reason":"trimmed"}\n\n',
        None,
        id="loss that leaves the cursor",
    ),
    pytest.param(
        Loss("overflow", AT, position=AT),
        b'id: 5-1\nevent: reset\ndata: {"reason":"overflow"}\n\n',
        AT,
        id="loss up to a dropped message",
    ),
    pytest.param(
        Loss("rolled back", AT, restart=Position(3)),
        b'id: 3-0\nevent: reset\ndata: {"reason":"rolled back"}\n\n',
        Position(3),
        id="loss after which positions begin anew",
    ),
    pytest.param(
        control.reconnect("draining", retry=0.5),
        b'event: reconnect\nretry: 500\ndata: {"reason":"draining"}\n\n',
        None,
        id="reconnect",
    ),
    pytest.param(
        control.reconnect("reset", retry=0.5, anew=True),
        b'id: \nevent: reconnect\nretry: 500\ndata: {"reason":"reset"}\n\n',
        None,
        id="reconnect without a position",
    ),
    pytest.param(control.end(AT), b"id: 5-1.end\nevent: end\ndata: {}\n\n", None, id="end"),
    pytest.param(
        control.end(None), b"id: 0-0.end\nevent: end\ndata: {}\n\n", None, id="end, no ids"
    ),
]


@pytest.mark.parametrize("frame, data, position", FRAMES)
def test_a_control_frame_is_a_named_event(frame: Batch, data, position):
    """Each control frame has exactly these bytes, and moves the cursor exactly there."""
    assert frame.encode(Form()) == data
    assert frame.position == position


@pytest.mark.parametrize("frame, data, position", FRAMES)
def test_no_listener_takes_a_control_frame_for_a_message(frame: Batch, data, position):
    """A control frame has JSON data and a name that neither applications nor EventSource use."""
    [event] = decode(frame.encode(Form()))

    assert event.event in CONTROL_EVENTS
    assert event.event not in ("message", "open", "error")
    assert isinstance(json.loads(event.data), dict)


def test_clients_at_the_same_position_share_their_heartbeat():
    """A heartbeat is made once for all clients at a position, as a worker may have thousands."""
    assert control.heartbeat(Position(7)) is control.heartbeat(Position(7))
    assert control.heartbeat(Position(7)) is not control.heartbeat(Position(8))


@pytest.mark.parametrize("position", [AT, BEGINNING, None])
def test_a_client_that_was_told_of_the_end_is_known_by_its_id(position):
    """A client sends back the id of the frame `end`, and the id says that the stream is over."""
    [event] = decode(control.end(position).encode(Form()))

    assert control.is_end(event.last_event_id)


@pytest.mark.parametrize(
    "id, is_end",
    [
        pytest.param("5-1.end", True, id="marked"),
        pytest.param("0-0.end", True, id="no position"),
        pytest.param("end", False, id="an id of the application's own"),
        pytest.param("chapter.end", False, id="an id of its own that ends so"),
        pytest.param(".end", False, id="the mark alone"),
        pytest.param("5-1", False, id="a position"),
        pytest.param("friend", False, id="a word that ends so"),
        pytest.param("5-1.end.", False, id="not at the end"),
        pytest.param("5-1.END", False, id="capitals"),
        pytest.param("", False, id="empty"),
    ],
)
def test_only_a_marked_id_is_the_end(id, is_end):
    """A client is turned away for good only when its last id is marked as the end."""
    assert control.is_end(id) is is_end


def test_a_loss_says_how_far_it_reaches():
    """A loss keeps its reason, the last lost position, and where positions begin anew."""
    loss = Loss("rolled back", Position(9), restart=Position(3))

    assert (loss.reason, loss.until, loss.restart) == ("rolled back", Position(9), Position(3))
