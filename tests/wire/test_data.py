"""JSON, and data that is not: which values are raw, and which text a client could not read."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from flask_redis_events import FieldError, ServerSentEvent
from flask_redis_events.wire import Message, Position
from flask_redis_events.wire.data import MARK, Raw, check_raw, dumps, raw_of, text_of
from flask_redis_events.wire.sse import decode, encode


class Element:
    """Renders itself, as the elements of several HTML libraries do."""

    def __html__(self) -> str:
        return "<b>bold</b>"


@pytest.mark.parametrize(
    "value, text",
    [
        pytest.param(Markup("<li>"), "<li>", id="Markup"),
        pytest.param(Element(), "<b>bold</b>", id="an element"),
        pytest.param(Raw("1"), "1", id="the data of a raw event"),
        pytest.param("<li>", None, id="a str"),
        pytest.param({"a": Markup("<li>")}, None, id="Markup inside of a dict"),
        pytest.param(None, None, id="None"),
    ],
)
def test_a_value_that_renders_itself_is_raw(value, text):
    """Values with `__html__` are raw; every other value is JSON, a str too."""
    assert raw_of(value) == text
    assert (text_of(value) == text) == (text is not None)


@pytest.mark.parametrize(
    "value, fix",
    [
        pytest.param(b"<li>", r"write data\.decode\(\)", id="bytes"),
        pytest.param({"a": 1}, "sends a value as JSON", id="a dict"),
        pytest.param("a\0b", r"text\.replace\('\\0', ''\)", id="NUL"),
        pytest.param("a\ud800b", r"text\.encode\('utf-8', 'replace'\)", id="lone surrogate"),
    ],
)
def test_text_that_no_client_could_read_is_refused(value, fix):
    """The error names the fix, and is raised where the event is made."""
    with pytest.raises(FieldError, match=fix):
        check_raw(value)
    with pytest.raises(FieldError, match=fix):
        ServerSentEvent(raw=value)


def test_an_element_that_renders_no_text_is_refused():
    """The text of an object with `__html__` is checked like any other raw text."""
    with pytest.raises(FieldError, match="NUL"):
        ServerSentEvent(Markup("\0"))


@pytest.mark.parametrize(
    "arguments", [pytest.param({"data": 1, "raw": "a"}, id="both"), pytest.param({}, id="none")]
)
def test_an_event_has_either_data_or_raw_text(arguments):
    """An event with both, or with none of them, is refused."""
    with pytest.raises(FieldError, match="either data or raw=text"):
        ServerSentEvent(**arguments)


@pytest.mark.parametrize("data", [b"x", bytearray(b"x"), memoryview(b"x")], ids=type)
def test_bytes_are_refused_with_what_to_write_instead(data):
    """The error for bytes names the three ways to send them."""
    with pytest.raises(FieldError, match=r"data\.decode\(\).*raw=.*base64"):
        ServerSentEvent(data).encode()


def test_a_default_may_write_bytes():
    """An application whose `default` knows bytes may send them."""
    assert ServerSentEvent(b"x").encode(default=bytes.decode) == b'data: "x"\n\n'


def test_none_is_data():
    """`None` is JSON's null, and not the absence of data."""
    assert ServerSentEvent(None).encode() == b"data: null\n\n"


def test_lines_end_at_cr_and_lf_only():
    """Raw text becomes one `data:` line for each of its lines; U+2028 and others end none."""
    event = ServerSentEvent(raw="<ul>\r\n <li>\u2028\x85\x0b\x0c</li>\r</ul>\n", event="card")

    assert (
        event.encode()
        == (
            "event: card\ndata: <ul>\ndata:  <li>\u2028\x85\x0b\x0c</li>\ndata: </ul>\ndata: \n\n"
        ).encode()
    )


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_raw_text_arrives(text):
    """A browser receives the text as it was, except for the kind of its line ends."""
    (event,) = decode(ServerSentEvent(raw=text).encode())

    assert event.data == text.replace("\r\n", "\n").replace("\r", "\n")


@pytest.mark.parametrize(
    "text", ["<li>one</li>", '{"id": 7}', "1", "null", " two\nlines ", "", ":raw", "\n"]
)
@pytest.mark.parametrize("event", [None, "card"])
def test_a_message_knows_that_its_data_is_raw(text, event):
    """A marked frame gives application code its text, also where that happens to be JSON."""
    frame = MARK + ServerSentEvent(raw=text, event=event).encode()
    kept = Message.numbered("a", frame, Position(7))
    live = Message.from_payload("a", b":7-0 6-0 -\nid: 7-0\n" + frame)
    without_history = Message.from_payload("a", b":- - -\n" + frame)

    for message in (kept, live, without_history):
        assert (message.value, message.event) == (text, event)
        assert isinstance(message.value, Raw)
        assert decode(message.frame)[0].data == text


def test_a_browser_ignores_the_mark():
    """The mark is a comment, so it changes neither the event nor the id."""
    frame = ServerSentEvent(raw="x", event="card").encode()

    assert decode(b"id: 7-0\n" + MARK + frame) == decode(b"id: 7-0\n" + frame)


@pytest.mark.parametrize("value", ["x", 1, [1], {"a": "x"}])
def test_a_message_of_json_is_as_before(value: Any):
    """A frame without the mark is JSON."""
    message = Message.numbered("a", ServerSentEvent(value).encode(), Position(7))

    assert message.value == value
    assert not isinstance(message.value, Raw)


def test_raw_data_of_a_foreign_payload_is_foreign():
    """Another program cannot mark its payload by accident: it is data from its first byte."""
    message = Message.from_payload("a", MARK + b"data: x\n\n")

    assert message.value == ":raw\ndata: x\n\n"


# ---- dumps -------------------------------------------------------------------------------------


JSON = {
    "compact": ({"a": [1, 2.5, None], "b": True}, '{"a":[1,2.5,null],"b":true}'),
    "str-is-quoted": ("text", '"text"'),
    "zero": (0, "0"),
    "empty-str": ("", '""'),
    "empty-list": ([], "[]"),
    "false": (False, "false"),
    "order-is-kept": ({"b": 1, "a": 2}, '{"b":1,"a":2}'),
    "line-ends-are-escaped": ("a\r\nb", r'"a\r\nb"'),
    "nul-is-escaped": ("\0", r'"\u0000"'),
    "other-line-ends-stay": ("\x85\u2028\u2029", '"\x85\u2028\u2029"'),
    "unicode-stays": ("é😀", '"é😀"'),
    "lone-surrogate-is-escaped": ("é\ud83d", r'"é\ud83d"'),
    "backslash-before-surrogate": ("\\\udc00", r'"\\\udc00"'),
    "surrogate-in-key": ({"\udfff": 1}, r'{"\udfff":1}'),
    "number-keys": ({1: 2}, '{"1":2}'),
    "tuple": ((1, 2), "[1,2]"),
}


@pytest.mark.parametrize(("value", "text"), JSON.values(), ids=JSON)
def test_dumps(value: object, text: str) -> None:
    """dumps() writes compact JSON on one line, with all characters that UTF-8 has unescaped."""
    assert dumps(value) == text
    assert encode(dumps(value)) == f"data: {text}\n\n".encode()


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "wrap", [lambda n: n, lambda n: [{"a": n}], lambda n: {n: 1}], ids=["bare", "nested", "key"]
)
def test_dumps_refuses_what_json_has_no_number_for(number: float, wrap: Any) -> None:
    """NaN and the infinities are refused, and the error says what to send instead."""
    with pytest.raises(FieldError, match=r"no NaN, no infinity.*send None or a str"):
        dumps(wrap(number))


def test_dumps_names_the_type_it_cannot_write() -> None:
    """An object that JSON does not know is refused by the name of its type."""
    with pytest.raises(FieldError, match=r"type set .*Convert it first, or name a default"):
        dumps({"tags": {1}})


def test_dumps_takes_a_default() -> None:
    """`default` converts an object that JSON does not know, as in json.dumps."""
    assert dumps({"tags": {1}}, default=sorted) == '{"tags":[1]}'


def test_dumps_refuses_what_contains_itself() -> None:
    """A value that contains itself is refused."""
    value: list[object] = []
    value.append(value)

    with pytest.raises(FieldError, match="contains itself"):
        dumps(value)


def test_dumps_refuses_what_is_nested_too_deeply() -> None:
    """A value nested beyond Python's stack raises FieldError, not RecursionError."""
    value: list[object] = []
    for _ in range(200_000):
        value = [value]

    with pytest.raises(FieldError, match="flatter"):
        dumps(value)
