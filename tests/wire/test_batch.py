"""Messages that are sent together."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_redis_events.wire import Batch, Form, Message, Position
from flask_redis_events.wire.batch import PART, encoded, framed, parts
from tests.support.factories import batch, foreign, message, sent
from tests.support.http_body import Chunked

FORMS = [Form(numbered, chunked) for numbered in (True, False) for chunked in (True, False)]


def test_a_batch_joins_its_frames_once():
    """A batch makes its bytes once, so all clients of an audience share them."""
    messages = [message(1, "a"), foreign("b"), message(2, "c")]
    together = Batch(messages)

    assert sent([together]) == b'id: 1-0\ndata: "a"\n\ndata: b\n\nid: 2-0\ndata: "c"\n\n'
    assert together.encode(Form()) is together.encode(Form())
    assert sent([together], numbered=False) == b'data: "a"\n\ndata: b\n\ndata: "c"\n\n'
    assert together.size == len(sent([together]))
    assert together.position == Position(2)


def test_a_batch_is_cut_at_a_position():
    """`after` drops messages up to a position, and keeps messages without an id."""
    together = Batch([message(1), foreign("f"), message(2)])

    assert together.after(Position(0)) is together
    assert [m.id for m in together.after(Position(1)).messages] == [None, Position(2)]
    assert [m.id for m in together.after(Position(2)).messages] == [None]
    assert Batch([message(1)]).after(Position(1)) is None


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_each_form_of_a_batch_is_made_once(form):
    """All clients that need a form share its bytes."""
    together = batch(1, 2)

    assert together.encode(form) is together.encode(form)


@pytest.mark.parametrize("numbered", [True, False])
def test_a_chunked_batch_is_one_whole_chunk(numbered):
    """A batch in a chunked form is the same bytes, framed as one chunk of HTTP/1.1."""
    together = batch(1, 2)
    chunk = together.encode(Form(numbered, chunked=True))

    assert chunk == framed(together.encode(Form(numbered)))
    assert Chunked().feed(chunk) == together.encode(Form(numbered))


@pytest.mark.parametrize("numbered", [True, False])
def test_a_control_frame_is_the_same_with_and_without_ids(numbered):
    """A client without ids is sent the very control frame that any other client is sent."""
    control = Batch(control=b":\n")

    assert control.encode(Form(numbered)) == b":\n"
    assert control.encode(Form(numbered, chunked=True)) == b"2\r\n:\n\r\n"
    assert (control.size, control.messages) == (2, ())


@pytest.mark.parametrize(
    "together, position",
    [
        pytest.param(batch(1, 2), Position(2), id="the last one"),
        pytest.param(Batch([message(1), foreign("f")]), Position(1), id="the last one with an id"),
        pytest.param(Batch([foreign("f")]), None, id="no ids"),
        pytest.param(Batch(), None, id="no messages"),
        pytest.param(Batch(control=b":\n", position=Position(5)), Position(5), id="control"),
        pytest.param(Batch(control=b":\n"), None, id="control that leaves the cursor"),
    ],
)
def test_the_position_of_a_batch_is_that_of_its_last_id(together, position):
    """A batch moves a client's cursor to the last id in it, if there is one."""
    assert together.position == position


@pytest.mark.parametrize(
    "control", [Batch(control=b":\n"), Batch(control=b":\n", position=Position(5))]
)
def test_a_control_frame_is_not_cut(control):
    """A control frame is for every client, whatever the client's position."""
    assert control.after(Position(9)) is control


MIXED = st.lists(st.booleans(), max_size=8).map(
    lambda ids: [message(n) if has_id else foreign(str(n)) for n, has_id in enumerate(ids)]
)


@given(MIXED, st.integers(0, 8))
def test_a_cut_keeps_order_and_exactly_the_newer_messages(messages: list[Message], cut: int):
    """`after` returns the newer messages and those without an id, in order; None without any."""
    newer = [one for one in messages if one.id is None or one.id > Position(cut)]
    left = Batch(messages).after(Position(cut))

    assert list(left.messages if left else ()) == newer
    assert (left is None) == (not newer)


# --- parts ------------------------------------------------------------------------------------

LENGTHS = st.lists(st.sampled_from([0, 100, PART // 3, PART - 100, PART, PART * 2]), max_size=12)


@given(LENGTHS)
def test_parts_are_all_messages_in_order(lengths: list[int]):
    """Each part has up to `PART` bytes, or is one message that has more."""
    messages = [message(number, "x" * length) for number, length in enumerate(lengths, 1)]
    made = list(parts(messages))

    assert [one for part in made for one in part.messages] == messages
    assert all(part.size <= PART or len(part.messages) == 1 for part in made)
    assert all(one.size + then.size > PART for one, then in itertools.pairwise(made))


def test_a_part_is_made_when_it_is_asked_for():
    """Of a long history no more is looked at than the client takes."""
    looked = []

    class History(list):
        def __iter__(self):
            for one in super().__iter__():
                looked.append(one)
                yield one

    next(parts(History([message(number, "x" * (PART // 4)) for number in range(1, 100)])))

    assert len(looked) == 4


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_the_bytes_of_one_batch_are_shared(form):
    """A large message is the same bytes for all clients that wait for it alone."""
    alone = batch(1)

    assert encoded([alone], form) is alone.encode(form)


@pytest.mark.parametrize("numbered", [True, False])
def test_batches_are_one_chunk_together(numbered):
    """Batches that waited together are written as one chunk."""
    several = [batch(1), Batch(control=b":\n"), batch(2, 3)]
    plain = sent(several, numbered=numbered)

    assert encoded(several, Form(numbered)) == plain
    assert encoded(several, Form(numbered, chunked=True)) == framed(plain)
    assert encoded([], Form(numbered)) == b""


@pytest.mark.parametrize(
    "data, chunk",
    [
        pytest.param(b"x", b"1\r\nx\r\n", id="one byte"),
        pytest.param(b"x" * 255, b"ff\r\n" + b"x" * 255 + b"\r\n", id="hexadecimal"),
        pytest.param(b"\r\n", b"2\r\n\r\n\r\n", id="a line end is data"),
        pytest.param(b"", b"0\r\n\r\n", id="the last chunk"),
    ],
)
def test_a_chunk_has_its_size_before_it(data, chunk):
    """A chunk is its size in hexadecimal digits, and the data, each followed by CRLF."""
    assert framed(data) == chunk
