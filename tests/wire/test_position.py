"""The order of all messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_redis_events.wire import BEGINNING, NEVER, Position, newest

#: As many digits as Lua counts exactly.
NUMBERS = st.integers(0, 10**15 - 1)
POSITIONS = st.builds(Position, NUMBERS, NUMBERS)


@pytest.mark.parametrize(
    "text, position",
    [
        pytest.param("5-0", Position(5), id="plain"),
        pytest.param("1795420087121-12", Position(1795420087121, 12), id="real"),
        pytest.param(b"5-1", Position(5, 1), id="bytes"),
        pytest.param("5", None, id="no counter"),
        pytest.param("5-0\n", None, id="line end"),
        pytest.param("-5-0", None, id="negative"),
        pytest.param("٥-0", None, id="digits that are not ASCII"),
        pytest.param("9" * 400 + "-0", None, id="longer than Lua counts"),
        pytest.param("5-0.end", None, id="marked"),
        pytest.param("", None, id="empty"),
        pytest.param(b"\xff-0", None, id="not text"),
    ],
)
def test_a_position_is_read_strictly(text, position):
    """`parse` accepts `<ms>-<seq>`, and returns None for anything else."""
    assert Position.parse(text) == position


def test_positions_are_ordered_as_numbers():
    """Positions are compared as numbers, so 9-0 is before 10-0, and 10-2 before 10-10."""
    ids = ["10-10", "9-0", "10-2"]

    positions = [Position.parse(text) or Position(0) for text in ids]

    assert [str(position) for position in sorted(positions)] == ["9-0", "10-2", "10-10"]


@given(POSITIONS)
def test_a_position_is_read_as_it_was_written(position):
    """`parse` reads the text of a position, as str and as bytes."""
    text = str(position)

    assert Position.parse(text) == position
    assert Position.parse(text.encode()) == position


@given(POSITIONS)
def test_every_position_lies_between_the_beginning_and_never(position):
    """BEGINNING is before every id that Redis gives out, and NEVER after every one."""
    assert BEGINNING <= position < NEVER


@pytest.mark.parametrize(
    "ms, position",
    [
        pytest.param(0, Position(100), id="none"),
        pytest.param(30, Position(70), id="whole"),
        pytest.param(30.9, Position(70), id="fraction"),
    ],
)
def test_an_earlier_position_is_the_first_of_its_moment(ms, position):
    """`earlier` returns the first id of a moment, so that all ids of the moment come after it."""
    assert Position(100, 5).earlier(ms) == position


@pytest.mark.parametrize(
    "other, outlives",
    [
        pytest.param(Position(10), True, id="longer"),
        pytest.param(Position(50), True, id="exactly"),
        pytest.param(Position(50, 9), True, id="the counter is no time"),
        pytest.param(Position(51), False, id="shorter"),
        pytest.param(Position(200), False, id="later"),
    ],
)
def test_a_position_outlives_an_earlier_one_by_time(other, outlives):
    """A position outlives another one when the whole TTL lies between them."""
    assert Position(100).outlives(other, 50) is outlives


@pytest.mark.parametrize(
    "one, other, later",
    [
        pytest.param(None, None, None, id="neither"),
        pytest.param(Position(5), None, Position(5), id="only one"),
        pytest.param(None, Position(5), Position(5), id="only the other"),
        pytest.param(BEGINNING, None, BEGINNING, id="the beginning is a position"),
        pytest.param(Position(9), Position(10), Position(10), id="both"),
        pytest.param(Position(5, 2), Position(5, 1), Position(5, 2), id="by the counter"),
    ],
)
def test_the_newest_position_is_the_later_one(one, other, later):
    """`newest` returns the later position, because no position is earlier than any."""
    assert newest(one, other) == later
