"""The wire format: encoding, decoding, and that the two agree.

The number that a case's name begins with is the rule it proves: 1 UTF-8, 2 line ends, 3 and 4 data
lines, 5 the space, 6 blocks without data, 7 event, 8 id, 9 retry, 10 comments and field names,
11 whole blocks, 12 the byte order mark.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import FrozenInstanceError
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_redis_events.exceptions import FieldError, RedisEventsError
from flask_redis_events.wire.sse import (
    COMMENT,
    CONTROL_EVENTS,
    Decoder,
    Event,
    ServerSentEvent,
    decode,
    encode,
)

BOM = "\ufeff".encode()
CORS_UNSAFE = '"():<>?@[\\]{}'


def chunks(data: bytes, cuts: Iterable[int]) -> Iterator[bytes]:
    """Cut data at these places; places outside it cut off nothing."""
    start = 0
    for cut in [*sorted(cuts), len(data)]:
        yield data[start:cut]
        start = max(start, cut)


def feed_all(decoder: Decoder, pieces: Iterable[bytes]) -> list[Event]:
    return [event for piece in pieces for event in decoder.feed(piece)]


def one_by_one(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


# ---- both directions ---------------------------------------------------------------------------


class Case(NamedTuple):
    text: str
    fields: dict[str, Any]
    wire: bytes
    event: Event


def message(data: str, *, event: str = "message", id: str = "") -> Event:
    return Event(event, data, id)


BOTH_WAYS = {
    "plain": Case("hello", {}, b"data: hello\n\n", message("hello")),
    "every-field-in-order": Case(
        "{}",
        {"retry": 3000, "event": "order", "id": "17-0"},
        b"id: 17-0\nevent: order\nretry: 3000\ndata: {}\n\n",
        message("{}", event="order", id="17-0"),
    ),
    "1-utf8": Case("é€😀", {}, "data: é€😀\n\n".encode(), message("é€😀")),
    "2-lf": Case("a\nb", {}, b"data: a\ndata: b\n\n", message("a\nb")),
    "2-cr-becomes-lf": Case("a\rb", {}, b"data: a\ndata: b\n\n", message("a\nb")),
    "2-crlf-becomes-lf": Case("a\r\nb", {}, b"data: a\ndata: b\n\n", message("a\nb")),
    "2-lf-then-cr-is-two-line-ends": Case(
        "a\n\rb", {}, b"data: a\ndata: \ndata: b\n\n", message("a\n\nb")
    ),
    "2-no-other-line-ends": Case(
        "a\x0bb\x0cc\x1cd\x1de\x1ef\x85g\u2028h\u2029i",
        {},
        "data: a\x0bb\x0cc\x1cd\x1de\x1ef\x85g\u2028h\u2029i\n\n".encode(),
        message("a\x0bb\x0cc\x1cd\x1de\x1ef\x85g\u2028h\u2029i"),
    ),
    "2-nul-is-data": Case("a\0b", {}, b"data: a\0b\n\n", message("a\0b")),
    "4-trailing-lf": Case("a\n", {}, b"data: a\ndata: \n\n", message("a\n")),
    "4-leading-lf": Case("\na", {}, b"data: \ndata: a\n\n", message("\na")),
    "4-only-lf": Case("\n", {}, b"data: \ndata: \n\n", message("\n")),
    "5-leading-space": Case(" a", {}, b"data:  a\n\n", message(" a")),
    "5-trailing-space": Case("a ", {}, b"data: a \n\n", message("a ")),
    "5-tab": Case("\ta", {}, b"data: \ta\n\n", message("\ta")),
    "5-leading-colon": Case(": a", {}, b"data: : a\n\n", message(": a")),
    "5-looks-like-a-field": Case("id: 1", {}, b"data: id: 1\n\n", message("id: 1")),
    "6-empty-data-is-an-event": Case("", {}, b"data: \n\n", message("")),
    "7-event": Case("x", {"event": "a b:c"}, b"event: a b:c\ndata: x\n\n", Event("a b:c", "x", "")),
    "7-event-leading-space": Case(
        "x", {"event": " a"}, b"event:  a\ndata: x\n\n", Event(" a", "x", "")
    ),
    "7-event-unicode": Case(
        "x", {"event": "é\u2028"}, "event: é\u2028\ndata: x\n\n".encode(), Event("é\u2028", "x", "")
    ),
    "7-event-message": Case("x", {"event": "message"}, b"data: x\n\n", message("x")),
    "7-event-empty": Case("x", {"event": ""}, b"data: x\n\n", message("x")),
    "7-event-names-are-case-sensitive": Case(
        "x", {"event": "Error"}, b"event: Error\ndata: x\n\n", message("x", event="Error")
    ),
    "8-id": Case(
        "x",
        {"id": "1795420087121-0.end"},
        b"id: 1795420087121-0.end\ndata: x\n\n",
        message("x", id="1795420087121-0.end"),
    ),
    "8-id-empty": Case("x", {"id": ""}, b"id: \ndata: x\n\n", message("x")),
    "8-id-longest": Case(
        "x", {"id": "7" * 128}, b"id: " + b"7" * 128 + b"\ndata: x\n\n", message("x", id="7" * 128)
    ),
    "9-retry": Case("x", {"retry": 3000}, b"retry: 3000\ndata: x\n\n", message("x")),
    "9-retry-zero": Case("x", {"retry": 0}, b"retry: 0\ndata: x\n\n", message("x")),
    "12-bom-is-data": Case("\ufeffa", {}, b"data: " + BOM + b"a\n\n", message("\ufeffa")),
}


@pytest.mark.parametrize("case", BOTH_WAYS.values(), ids=BOTH_WAYS)
def test_encode_writes_the_block(case: Case) -> None:
    """encode() writes one whole block, byte for byte."""
    assert encode(case.text, **case.fields) == case.wire


@pytest.mark.parametrize("case", BOTH_WAYS.values(), ids=BOTH_WAYS)
def test_decode_reads_the_block(case: Case) -> None:
    """decode() reads back what encode() wrote."""
    decoder = Decoder()

    assert decoder.feed(case.wire) == [case.event]
    assert decoder.last_event_id == case.fields.get("id", "")
    assert decoder.retry == case.fields.get("retry")


# ---- encode ------------------------------------------------------------------------------------

REFUSED = {
    "7-event-lf": {"event": "a\ndata: injected"},
    "7-event-cr": {"event": "a\r"},
    "7-event-nul": {"event": "a\0"},
    "7-event-lone-surrogate": {"event": "a\ud800"},
    "7-event-open": {"event": "open"},
    "7-event-error": {"event": "error"},
    "7-event-bytes": {"event": b"order"},
    "7-event-number": {"event": 0},
    "8-id-lf": {"id": "1\ndata: injected"},
    "8-id-trailing-lf": {"id": "1\n"},
    "8-id-cr": {"id": "1\r"},
    "8-id-nul": {"id": "1\0"},
    "8-id-space": {"id": "1 2"},
    "8-id-delete": {"id": "1\x7f"},
    "8-id-not-ascii": {"id": "1\u2026"},
    "8-id-arabic-digit": {"id": "\u0661"},
    "8-id-too-long": {"id": "7" * 129},
    "8-id-number": {"id": 7},
    "9-retry-negative": {"retry": -1},
    "9-retry-bool": {"retry": True},
    "9-retry-float": {"retry": 1000.0},
    "9-retry-str": {"retry": "1000"},
}


@pytest.mark.parametrize("fields", REFUSED.values(), ids=REFUSED)
def test_fields_that_clients_misread_are_refused(fields: dict[str, Any]) -> None:
    """A field that a client would misread is refused, and the error names the field and value."""
    [(name, value)] = fields.items()

    with pytest.raises(FieldError, match=name) as caught:
        encode("x", **fields)
    assert repr(value) in str(caught.value)
    with pytest.raises(FieldError, match=name):
        ServerSentEvent("x", **fields)


def test_id_characters() -> None:
    """An id takes exactly the printable ASCII characters that need no CORS preflight."""
    refused = set()
    for character in map(chr, range(0x100)):
        try:
            encode("x", id=character)
        except FieldError:
            refused.add(character)

    assert refused == set(map(chr, [*range(0x21), *range(0x7F, 0x100)])) | set(CORS_UNSAFE)


def test_lone_surrogates_in_text_are_refused() -> None:
    """Text that UTF-8 cannot carry is refused, and the error names the fix."""
    with pytest.raises(FieldError, match="send it as JSON") as caught:
        encode("a\ud83d")

    assert isinstance(caught.value, RedisEventsError)
    assert isinstance(caught.value.__cause__, UnicodeEncodeError)


def test_comment_is_one_line() -> None:
    """The heartbeat is a comment line without a blank line, so that no client sees an event."""
    decoder = Decoder()

    assert COMMENT == b":\n"
    assert decoder.feed(COMMENT + encode("x") + COMMENT) == [message("x")]
    assert decoder.comments == 2


# ---- ServerSentEvent ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONTROL_EVENTS)
def test_server_sent_event_refuses_control_events(name: str) -> None:
    """An application cannot send a control event; the error says what to do in its place."""
    with pytest.raises(FieldError, match=f"not be called '{name}'.*: rename it, or ") as caught:
        ServerSentEvent(1, event=name)

    assert CONTROL_EVENTS[name] in str(caught.value)


def test_server_sent_event_sets_the_fields() -> None:
    """A ServerSentEvent is written as one block: its fields, and its data as JSON."""
    event = ServerSentEvent({"n": 1}, event="order", id="7", retry=500)

    assert event.encode() == b'id: 7\nevent: order\nretry: 500\ndata: {"n":1}\n\n'


def test_server_sent_event_is_plain_by_default() -> None:
    """Without fields, a ServerSentEvent is written like the bare value; a str is JSON, too."""
    assert ServerSentEvent("text").encode() == b'data: "text"\n\n'


def test_server_sent_event_takes_a_default() -> None:
    """A ServerSentEvent passes `default` on to the JSON encoder."""
    assert ServerSentEvent({2, 1}).encode(default=sorted) == b"data: [1,2]\n\n"


def test_server_sent_event_is_a_value() -> None:
    """Events are compared by their fields, are frozen, and take fields by keyword only."""
    event = ServerSentEvent(1, event="a")

    assert event == ServerSentEvent(1, event="a") != ServerSentEvent(1)
    with pytest.raises(FrozenInstanceError):
        event.event = "b"  # type: ignore[misc]
    with pytest.raises(TypeError):
        ServerSentEvent(1, "a")  # type: ignore[call-arg]


# ---- decode ------------------------------------------------------------------------------------


class Stream(NamedTuple):
    """A stream of another server, and the state in which it leaves the decoder."""

    wire: bytes
    events: list[Event]
    last_event_id: str = ""
    retry: int | None = None
    comments: int = 0


FOREIGN = {
    "1-truncated-utf8": Stream(b"data: a\xe2\x82\n\n", [message("a\ufffd")]),
    "1-stray-byte": Stream(b"data: \xffa\n\n", [message("\ufffda")]),
    "1-surrogate-in-utf8": Stream(b"data: \xed\xa0\x80\n\n", [message("\ufffd" * 3)]),
    "1-overlong-lf-ends-no-line": Stream(b"data: a\xc0\x8ab\n\n", [message("a\ufffd\ufffdb")]),
    "1-latin1-next-line-is-no-line-end": Stream(b"data: a\x85b\n\n", [message("a\ufffdb")]),
    "2-cr": Stream(b"data: a\r\r", [message("a")]),
    "2-crlf": Stream(b"data: a\r\n\r\n", [message("a")]),
    "2-mixed": Stream(b"data: a\rdata: b\r\ndata: c\n\r\n", [message("a\nb\nc")]),
    "2-lf-cr-is-a-blank-line": Stream(b"data: a\n\rdata: b\n\n", [message("a"), message("b")]),
    "3-lines-are-joined": Stream(b"data: a\ndata: b\n\n", [message("a\nb")]),
    "3-one-final-lf-is-dropped": Stream(b"data\ndata\n\n", [message("\n")]),
    "5-no-space": Stream(b"data:a\n\n", [message("a")]),
    "5-one-space-only": Stream(b"data:  a\n\n", [message(" a")]),
    "5-a-tab-stays": Stream(b"data:\ta\n\n", [message("\ta")]),
    "6-no-data-no-event": Stream(b"event: a\n\n", []),
    "6-blank-lines": Stream(b"\n\n\r\r\n", []),
    "6-empty-data": Stream(b"data:\n\n", [message("")]),
    "6-name-without-colon": Stream(b"data\n\n", [message("")]),
    "6-id-alone-is-committed": Stream(b"id: 1\n\n", [], last_event_id="1"),
    "7-event-is-reset": Stream(
        b"event: a\ndata: 1\n\ndata: 2\n\n", [message("1", event="a"), message("2")]
    ),
    "7-event-is-reset-without-data": Stream(b"event: a\n\ndata: 2\n\n", [message("2")]),
    "7-last-event-wins": Stream(b"event: a\nevent: b\ndata: 1\n\n", [message("1", event="b")]),
    "7-empty-event-is-message": Stream(b"event: a\nevent\ndata: 1\n\n", [message("1")]),
    "7-reserved-names-are-read": Stream(
        b"event: error\ndata: 1\n\n", [message("1", event="error")]
    ),
    "8-id-persists": Stream(
        b"id: 1\ndata: a\n\ndata: b\n\n",
        [message("a", id="1"), message("b", id="1")],
        last_event_id="1",
    ),
    "8-id-after-data": Stream(b"data: a\nid: 1\n\n", [message("a", id="1")], last_event_id="1"),
    "8-id-empty-resets": Stream(
        b"id: 1\ndata: a\n\nid\ndata: b\n\n", [message("a", id="1"), message("b")]
    ),
    "8-id-with-nul-is-ignored": Stream(
        b"id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n",
        [message("a", id="1"), message("b", id="1")],
        last_event_id="1",
    ),
    "8-id-may-be-any-text": Stream(
        "id: \u2026 <\ndata: a\n\n".encode(),
        [message("a", id="\u2026 <")],
        last_event_id="\u2026 <",
    ),
    "8-id-waits-for-the-blank-line": Stream(b"id: 1\n\nid: 2\ndata: a\n", [], last_event_id="1"),
    "9-retry": Stream(b"retry: 1000\n\n", [], retry=1000),
    "9-retry-at-the-line": Stream(b"retry: 1000\n", [], retry=1000),
    "9-retry-leading-zero": Stream(b"retry:03000\n", [], retry=3000),
    "9-retry-last-wins": Stream(b"retry: 1\nretry: 2\n", [], retry=2),
    "9-retry-letters-never-reset": Stream(b"retry: 5\nretry: 1000x\n", [], retry=5),
    "9-retry-empty": Stream(b"retry: 5\nretry:\nretry\n", [], retry=5),
    "9-retry-plus": Stream(b"retry: +1\n", []),
    "9-retry-minus": Stream(b"retry: -1\n", []),
    "9-retry-underscore": Stream(b"retry: 1_000\n", []),
    "9-retry-two-spaces": Stream(b"retry:  1\n", []),
    "9-retry-trailing-space": Stream(b"retry: 1 \n", []),
    "9-retry-other-digits": Stream("retry: \u0661\n".encode(), []),
    "9-retry-absurd": Stream(b"retry: " + b"9" * 5000 + b"\n", []),
    "10-comment": Stream(b": hello\n:\n::\ndata: a\n\n", [message("a")], comments=3),
    "10-comment-inside-a-block": Stream(
        b"data: a\n:data: b\ndata: c\n\n", [message("a\nc")], comments=1
    ),
    "10-names-are-case-sensitive": Stream(b"Data: a\nDATA: b\n\n", []),
    "10-names-are-whole": Stream(b"dat: a\ndatas: b\n data: c\ndata : d\n\n", []),
    "10-unknown-fields": Stream(b"foo: 1\ndata: a\nbar\n\n", [message("a")]),
    "11-unterminated-block": Stream(b"data: a\n\ndata: b\n", [message("a")]),
    "11-unterminated-line": Stream(b"data: a\n\ndata: b", [message("a")]),
    "11-unterminated-comment": Stream(b": a", []),
    "12-one-bom-is-stripped": Stream(BOM + b"data: a\n\n", [message("a")]),
    "12-second-bom-is-a-name": Stream(BOM + BOM + b"data: a\n\ndata: b\n\n", [message("b")]),
    "12-later-bom-is-a-name": Stream(b"\n" + BOM + b"data: a\n\ndata: b\n\n", [message("b")]),
    "12-bom-before-a-comment": Stream(BOM + b":\ndata: a\n\n", [message("a")], comments=1),
    "12-bom-and-a-blank-line": Stream(BOM + b"\ndata: a\n\n", [message("a")]),
    "12-half-a-bom": Stream(BOM[:2] + b"data: a\n\ndata: b\n\n", [message("b")]),
    "nothing": Stream(b"", []),
}


@pytest.mark.parametrize("cut", [lambda data: [data], one_by_one], ids=["whole", "byte-by-byte"])
@pytest.mark.parametrize("stream", FOREIGN.values(), ids=FOREIGN)
def test_decoder_follows_the_standard(stream: Stream, cut: Any) -> None:
    """The decoder reads any stream by the rules of HTML 9.2.6, wherever it is cut."""
    decoder = Decoder()

    assert feed_all(decoder, cut(stream.wire)) == stream.events
    assert decoder.last_event_id == stream.last_event_id
    assert decoder.retry == stream.retry
    assert decoder.comments == stream.comments


def test_event_comes_with_its_cr() -> None:
    """A CR ends its line at once; an LF that follows in the next chunk belongs to it."""
    decoder = Decoder()

    assert decoder.feed(b"data: a\r") == []
    assert decoder.feed(b"") == []
    assert decoder.feed(b"\n") == []
    assert decoder.feed(b"\r") == [message("a")]
    assert decoder.feed(b"\ndata: b\n") == []
    assert decoder.feed(b"\n") == [message("b")]


@pytest.mark.parametrize("size", [1, 1000])
def test_decoder_takes_linear_time(size: int) -> None:
    """The time for a line of 1 MiB in small chunks grows linearly with its length."""
    line = b"x" * 2**20
    decoder = Decoder()
    begun = time.process_time()

    events = feed_all(decoder, chunks(b"data: " + line + b"\n\n", range(0, len(line), size)))

    assert events == [message(line.decode())]
    assert time.process_time() - begun < 5.0, "a quadratic decoder takes minutes"


# ---- properties --------------------------------------------------------------------------------

# No deadline, as it would measure the machine's load; no database, as it would leave files behind.
quickly = settings(deadline=None, database=None)

AWKWARD = '\r\n\0\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\ufeff\ufffe\\" :'
any_character = st.sampled_from(AWKWARD) | st.characters()
scalar_values = st.characters(exclude_categories=["Cs"])
clean_text = st.text(st.sampled_from(AWKWARD) | scalar_values)
# JSON reads a pair of surrogates as one character; a lone one it keeps.
json_text = st.text(any_character | st.sampled_from("\ud83d\ude00")).map(
    lambda text: text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | json_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(json_text, inner, max_size=4),
    max_leaves=12,
)
event_names = st.none() | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0")
).filter(lambda name: name not in ("open", "error"))
ids = st.none() | st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=CORS_UNSAFE),
    max_size=128,
)
retries = st.none() | st.integers(min_value=0, max_value=10**12)
cuts = st.lists(st.integers(min_value=0, max_value=200), max_size=8)
fragments = [b"data", b"event", b"id", b"retry", b"7", b":", b": ", b" ", b"\0"]
line_ends = [b"\r", b"\n", b"\r\n", b"\n\n"]
parts_of_characters = [BOM, BOM[:2], b"\xe2\x80\xa8", b"\xe2\x80", b"\xf0\x9f", b"\xed\xa0\x80"]
streams = st.lists(
    st.sampled_from([*fragments, *line_ends, *parts_of_characters]) | st.binary(max_size=4),
    max_size=40,
).map(b"".join)


@quickly
@given(json_values, event_names, ids, retries, cuts)
def test_any_json_value_round_trips(
    value: object, event: str | None, id: str | None, retry: int | None, cuts: list[int]
) -> None:
    """Any JSON value is read back equal, with its fields, wherever the stream is cut."""
    decoder = Decoder()
    frame = ServerSentEvent(value, event=event, id=id, retry=retry).encode()

    [got] = feed_all(decoder, chunks(frame, cuts))

    assert json.loads(got.data) == value
    assert "\n" not in got.data
    assert got.event == (event or "message")
    assert got.last_event_id == decoder.last_event_id == (id or "")
    assert decoder.retry == retry


@quickly
@given(st.lists(clean_text, max_size=5), cuts)
def test_any_text_round_trips(texts: list[str], cuts: list[int]) -> None:
    """Any text is read back unchanged, except that CR and CRLF become LF."""
    wire = b"".join(encode(text) for text in texts)

    got = feed_all(Decoder(), chunks(wire, cuts))

    assert [event.data for event in got] == [
        text.replace("\r\n", "\n").replace("\r", "\n") for text in texts
    ]


@quickly
@given(clean_text, event_names, ids, retries)
def test_frames_can_be_joined(
    text: str, event: str | None, id: str | None, retry: int | None
) -> None:
    """A frame is complete, so frames and comments before or after it do not change it."""
    frame = encode(text, event=event, id=id, retry=retry)

    [alone] = decode(frame)
    [_, joined, last] = decode(encode("before") + COMMENT + frame + COMMENT + encode("after"))

    assert joined == alone
    assert last == message("after", id=id or "")


@quickly
@given(streams, cuts)
def test_cuts_change_nothing(data: bytes, cuts: list[int]) -> None:
    """Any bytes decode to the same events, whole or cut anywhere."""
    whole, single, cut = Decoder(), Decoder(), Decoder()

    events = whole.feed(data)

    assert events == feed_all(single, one_by_one(data)) == feed_all(cut, chunks(data, cuts))
    for other in (single, cut):
        assert other.last_event_id == whole.last_event_id
        assert other.retry == whole.retry
        assert other.comments == whole.comments


@quickly
@given(streams)
def test_invalid_utf8_is_replaced_as_in_one_piece(data: bytes) -> None:
    """Each line is decoded alone, with the replacements that the whole stream would have."""
    assert decode(data) == decode(data.decode("utf-8", "replace").encode())
