"""The payload's envelope, and the values that messages have."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_redis_events.wire import Message, Position
from tests.support.factories import foreign

FRAME = b'event: order\ndata: {"id":7}\n\n'


@pytest.mark.parametrize(
    "envelope, id, prev, key",
    [
        pytest.param(
            b":7-0 6-0 0123456789abcdef\nid: 7-0\n", Position(7), Position(6), None, id="kept"
        ),
        pytest.param(
            b":7-0 - 0123456789abcdef\nid: 7-0\n", Position(7), None, None, id="transient"
        ),
        pytest.param(b":- - -\n", None, None, None, id="no history"),
        pytest.param(
            b":7-0 6-0 0123456789abcdef EUR USD\nid: 7-0\n",
            Position(7),
            Position(6),
            "EUR USD",
            id="key",
        ),
    ],
)
def test_the_envelope_is_read(envelope, id, prev, key):
    """The envelope has the id, prev and key; the rest is the frame, ready for the wire."""
    read = Message.from_payload("orders", envelope + FRAME)

    assert (read.id, read.prev, read.key) == (id, prev, key)
    assert read.frame == envelope.partition(b"\n")[2] + FRAME
    assert read.bare == FRAME
    assert (read.event, read.value) == ("order", {"id": 7})


@pytest.mark.parametrize(
    "payload, value",
    [
        pytest.param(b'{"id": 7}', {"id": 7}, id="JSON"),
        pytest.param(b"hello", "hello", id="text"),
        pytest.param(b"two\nlines", "two\nlines", id="lines"),
        pytest.param(b"event: fake\ndata: x\n\n", "event: fake\ndata: x\n\n", id="looks like SSE"),
        pytest.param(b": 7-0 6-0\n", ": 7-0 6-0\n", id="nearly an envelope"),
        pytest.param(b":- - -\n", ":- - -\n", id="an envelope without a frame"),
        pytest.param(b":- - -\ndata: x\n", ":- - -\ndata: x\n", id="a frame without its end"),
        pytest.param(
            b":7-0 6-0 -\ndata: x\n\n", ":7-0 6-0 -\ndata: x\n\n", id="a frame without its id"
        ),
        pytest.param(
            b":7-0 6-0 -\nid: 8-0\ndata: x\n\n",
            ":7-0 6-0 -\nid: 8-0\ndata: x\n\n",
            id="a frame with another id",
        ),
        pytest.param(b"", "", id="empty"),
        pytest.param(b"\xff\x00", "�\x00", id="not text"),
        pytest.param(b"null", None, id="null"),
        pytest.param(b"false", False, id="false is data"),
        pytest.param(b"[" * 100_000, "[" * 100_000, id="JSON deeper than Python goes"),
    ],
)
def test_a_foreign_payload_is_data(payload, value):
    """A payload without an envelope becomes a message without an id."""
    read = Message.from_payload("orders", payload)

    assert read.value == value
    assert (read.id, read.prev, read.event) == (None, None, None)


def forged(envelope: bytes) -> st.SearchStrategy[bytes]:
    """Return payloads that begin like those of this package."""
    parts = st.lists(st.sampled_from([b"\n", b"id: 7-0", b"data: x", b"", b"\r"]) | st.binary())
    return parts.map(lambda lines: envelope + b"\n" + b"".join(lines))


@given(st.binary() | st.sampled_from([b":- -", b":7-0 -", b":7-0 6-0 k"]).flatmap(forged))
def test_no_payload_breaks_the_reader(payload):
    """Any payload becomes a message whose frame is complete."""
    read = Message.from_payload("orders", payload)

    assert read.value is not NotImplemented
    assert read.frame.endswith(b"\n\n")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_a_foreign_json_value_arrives(value):
    """JSON in a foreign payload is decoded."""
    text = json.dumps(value)

    assert Message.from_payload("orders", text.encode()).value == value


def test_each_reader_has_a_value_of_its_own():
    """Each callback gets a value of its own, so that it can change it."""
    one = Message.numbered("a", b'data: {"secret": 1}\n\n', Position(1))
    one.value.pop("secret")

    assert one.value == {"secret": 1}


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_only_python_reads_as_json_is_text(text):
    """Text that only Python accepts as JSON stays text, because a browser could not read it."""
    assert foreign(text).value == text
