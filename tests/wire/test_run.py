"""What of a run's log may be joined, and how its end is told."""

from __future__ import annotations

from typing import Any

import pytest

from flask_redis_events.wire import Batch, Form, Message, Position, control
from flask_redis_events.wire.data import MARK, dumps
from flask_redis_events.wire.run import end_of, joined, marker
from flask_redis_events.wire.sse import COMMENT, decode, encode


def message(number: int, data: Any, *, event: str | None = None, raw: bool = False) -> Message:
    frame = MARK + encode(data) if raw else encode(dumps(data), event=event)
    return Message.numbered("a", frame, Position(number), prev=Position(number - 1))


def test_neighbouring_pieces_are_joined():
    """The joined message has the id of its last piece, and follows what the first one followed."""
    [one] = joined([message(number, text) for number, text in enumerate("abc", 1)])

    assert (one.value, one.id, one.prev) == ("abc", Position(3), Position(0))


@pytest.mark.parametrize(
    "other",
    [
        message(2, {"delta": "b"}),
        message(2, "b", event="title"),
        message(2, "b", raw=True),
        message(2, 7),
        Message.numbered("a", marker("finished"), Position(2)),
    ],
    ids=["a dict", "a named event", "raw", "a number", "the marker"],
)
def test_others_are_not(other: Message):
    """They stay where they are, and divide the pieces."""
    given = [message(1, "a"), other, message(3, "c")]

    assert joined(given) == given


def test_dicts_are_joined_where_all_else_is_equal():
    """`delta` is the text."""
    given = [
        message(n, {"id": i, "delta": d})
        for n, (i, d) in enumerate([("1", "a"), ("1", "b"), ("2", "c")], 1)
    ]

    assert [one.value for one in joined(given)] == [
        {"id": "1", "delta": "ab"},
        {"id": "2", "delta": "c"},
    ]


@pytest.mark.parametrize("state", ["finished", "failed", "stopped", "lost"])
def test_only_a_marker_ends_a_run(state: str):
    """An event of the application that looks like one does not."""
    end = Message.numbered("a", marker(state), Position(2))
    alike = message(2, {"state": state}, event="run")

    assert (end_of(end), end_of(alike)) == (state, None)
    assert (end.event, end.value) == (alike.event, alike.value)


def ai_sdk(batch: Batch) -> bytes:
    return batch.encode(Form(dialect="ai-sdk"))


def test_the_ai_sdk_gets_what_it_knows():
    """Unnamed events as they are, comments for control frames, and `[DONE]` at the end."""
    batch = Batch([message(1, {"type": "start"}), message(2, 1, event="title")])

    assert ai_sdk(batch) == batch.messages[0].frame + COMMENT
    assert ai_sdk(Batch([message(2, 1, event="title")])) == COMMENT
    for frame in (
        control.ready(Position(1), retry=1, heartbeat=1),
        control.heartbeat(Position(1)),
        control.reconnect("full", retry=1),
    ):
        assert ai_sdk(frame) == COMMENT
    assert [event.data for event in decode(ai_sdk(control.end(None, "finished")))] == ["[DONE]"]
    part, done = decode(ai_sdk(control.end(None, "stopped")))
    assert (part.data, done.data) == ('{"type":"abort"}', "[DONE]")
    assert '"type":"error"' in decode(ai_sdk(control.end(None, "lost")))[0].data
    assert '"type":"error"' in decode(ai_sdk(control.reset("trimmed")))[0].data
