"""Is a cursor covered, is a message missing: decided by values alone."""

from __future__ import annotations

from typing import Any

import pytest

from flask_redis_events.broker.coverage import Held, State, is_missing, snapshot
from flask_redis_events.wire import BEGINNING, Message, Position


def at(number: int) -> Position:
    return Position(number)


def kept(number: int, prev: int) -> Message:
    return Message.numbered("a", b"data: x\n\n", at(number), prev=at(prev))


def state(**changes: Any) -> State:
    """The clock is at 1000; what is known goes back to 100, and histories to 700."""
    usual = State(at(1000), at(10), horizon=at(100), indexed=at(10), kept_since=at(700))
    return usual._replace(**changes)


@pytest.mark.parametrize(
    ("held", "after", "reason"),
    [
        pytest.param(Held("a", [kept(900, 800)]), 800, None, id="next"),
        pytest.param(Held("a", [kept(900, 800)]), 799, "trimmed", id="prev is newer"),
        pytest.param(Held("a", [kept(900, 800), kept(950, 940)]), 800, "trimmed", id="a hole"),
        pytest.param(Held("a", [kept(1001, 850)]), 800, "trimmed", id="before the next one"),
        pytest.param(Held("a", [kept(1001, 800)]), 800, None, id="only newer than the clock"),
        pytest.param(Held("a", last=at(50)), 50, None, id="has the last, however old"),
        pytest.param(Held("a", last=at(650)), 600, "expired", id="expired"),
        pytest.param(Held("a", last=at(750)), 700, "evicted", id="cannot have expired"),
        pytest.param(Held("a"), 100, None, id="silent since the horizon"),
        pytest.param(Held("a"), 99, "expired", id="before the horizon"),
        pytest.param(Held("a", until=at(300)), 299, "evicted", id="only the index knows"),
        pytest.param(Held("a", until=at(300)), 300, None, id="not later than the index says"),
    ],
)
def test_each_channel_is_judged(held, after, reason):
    """A cursor is covered if no message after it is gone."""
    found = snapshot(state(), [held], after=at(after))

    assert found.reason == reason
    assert [m.id for m in found.messages] == [m.id for m in held.messages if m.id < at(1001)]


@pytest.mark.parametrize(
    ("after", "changes", "reason"),
    [
        pytest.param(1001, {}, "rolled back", id="ahead of the clock"),
        pytest.param(9, {}, "flushed", id="before the clock"),
        pytest.param(499, {"forked": at(500)}, "forked", id="before a fork"),
        pytest.param(500, {"forked": at(500)}, None, id="at a fork"),
        pytest.param(500, {"forked": at(500), "noted": at(600)}, None, id="at a noted fork"),
        pytest.param(599, {"forked": at(500), "noted": at(600)}, "forked", id="before the note"),
        pytest.param(600, {"forked": at(500), "noted": at(600)}, None, id="after the note"),
    ],
)
def test_all_channels_are_judged(after, changes, reason):
    """Some cursors cannot be covered, whatever the channels have."""
    assert snapshot(state(**changes), [], after=at(after)).reason == reason


@pytest.mark.parametrize(
    ("after", "changes", "reason"),
    [
        pytest.param(400, {"indexed": at(500)}, "evicted", id="index is younger"),
        pytest.param(500, {"indexed": at(500)}, None, id="index is old enough"),
        pytest.param(99, {}, "expired", id="before the horizon"),
    ],
)
def test_patterns_need_the_index(after, changes, reason):
    """A pattern is covered if its channels can be found; so is a channel that nothing knows of."""
    judged = state(**changes)

    assert snapshot(judged, [], after=at(after), patterns=True).reason == reason
    assert snapshot(judged, [Held("a")], after=at(after)).reason == reason
    assert snapshot(judged, [], after=at(after)).reason is None


@pytest.mark.parametrize(
    ("held", "oldest", "changes", "missing"),
    [
        pytest.param(Held("a", [kept(800, 0)], at(900)), None, {}, False, id="it is there"),
        pytest.param(Held("a", [kept(700, 0)], at(900)), None, {}, True, id="an older one is"),
        pytest.param(Held("a", [], at(800)), None, {}, False, id="it is the last, evicted"),
        pytest.param(Held("a", [], at(700)), None, {}, True, id="the last is older"),
        pytest.param(Held("a", [], at(900)), kept(850, 800), {}, False, id="trimmed, as it says"),
        pytest.param(Held("a", [], at(900)), kept(850, 700), {}, True, id="the chain skips it"),
        pytest.param(Held("a", [], at(900)), None, {}, False, id="evicted, with all others"),
        pytest.param(Held("a"), None, {}, True, id="nothing is known of the channel"),
        pytest.param(Held("a", until=at(801)), None, {}, False, id="evicted, the index knows"),
        pytest.param(Held("a", until=at(800)), None, {}, True, id="the index knows older ones"),
        pytest.param(Held("a"), None, {"horizon": at(801)}, False, id="too old to be known"),
        pytest.param(Held("a"), None, {"indexed": at(801)}, False, id="the index was evicted"),
    ],
)
def test_a_missing_witness_is_noticed(held, oldest, changes, missing):
    """A message with id 800 is missing if Redis would have it, or a trace of it."""
    assert is_missing(at(800), held, oldest, state(**changes)) is missing


def test_without_a_cursor_the_last_are_returned():
    """A first connect gets the newest messages, and misses nothing."""
    held = [Held("a", [kept(20, 10), kept(40, 20)]), Held("b", [kept(30, 10), kept(1001, 30)])]
    found = snapshot(state(), held, after=None, last=2)

    assert [m.id for m in found.messages] == [at(30), at(40)]
    assert found.reason is None
    assert snapshot(state(), held, after=BEGINNING).reason == "flushed"
