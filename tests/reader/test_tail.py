"""What this worker remembers, and how far back it is complete."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from flask_redis_events.channels import Channel
from flask_redis_events.reader.tail import Tail, size_of
from flask_redis_events.wire import Message, Position
from tests.support.factories import channels, message

A, B = Channel("a"), Channel("b")


def tail_of(*numbers: int, channel: str = "a", limit: int = 10**6) -> Tail:
    """Return a tail of channel a from position 10 on, with these messages."""
    tail = Tail(limit)
    tail.acknowledged(A)
    tail.passed(Position(10))
    for number in numbers:
        add(tail, number, channel)
    return tail


def add(tail: Tail, number: int, channel: str = "a") -> None:
    tail.add(message(number, channel=channel), Position(number))
    tail.passed(Position(number))


def numbers(tail: Tail, cursor: int, *names: str) -> list[int] | None:
    found = tail.after(channels(*names), Position(cursor))
    return None if found is None else [m.id.ms for m in found if m.id]


def test_what_came_after_the_cursor_is_returned():
    """In order, and nothing else."""
    tail = tail_of(11, 12, 13)

    assert numbers(tail, 11, "a") == [12, 13]
    assert numbers(tail, 13, "a") == []
    assert numbers(tail, 10, "a") == [11, 12, 13]


def test_a_cursor_from_before_the_subscription_is_not_covered():
    """What came before the acknowledgement, this worker never saw."""
    assert numbers(tail_of(11), 9, "a") is None
    assert numbers(tail_of(11), 11, "a", "b") is None


def test_a_subscription_counts_from_the_next_id():
    """The moment that Redis carried it out is not known, but is before that."""
    tail = tail_of(11)
    tail.acknowledged(B)

    assert numbers(tail, 11, "b") is None
    add(tail, 12)
    assert numbers(tail, 11, "b") is None
    assert numbers(tail, 12, "a", "b") == []


def test_a_channel_that_was_left_begins_anew():
    """What was missed in between is not here."""
    tail = tail_of(11)
    tail.left([A])
    tail.acknowledged(A)
    add(tail, 15)

    assert numbers(tail, 11, "a") is None
    assert numbers(tail, 15, "a") == []


def test_it_is_bounded():
    """The older half goes, and with it the promise."""
    limit = 10 * size_of([message(1)])
    tail = tail_of(*range(11, 111), limit=limit)
    newest = numbers(tail, 109, "a")

    assert newest == [110]
    assert numbers(tail, 20, "a") is None
    assert tail._size <= limit


@pytest.mark.parametrize("length, names", [(1, 1), (1, 5000), (100, 1), (100, 5000), (2000, 1)])
def test_its_bound_is_that_of_its_memory(length: int, names: int):
    """A tail takes no more memory than its limit, however small its messages are."""
    limit = 2 * 1024 * 1024
    tail = Tail(limit)
    payload = b":%d-1 %d-0\nid: %d-1\ndata: " + b"x" * length + b"\n\n"
    tracemalloc.start()
    for number in range(1_700_000_000_000, 1_700_000_006_000):
        # As the reader makes them: each has an id, a predecessor and a name of its own.
        name = f"channel:{number % names}"
        one = Message.from_payload(name, payload % (number, number, number))
        tail.add(one, one.id or Position(0))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert limit / 4 < held < limit * 1.1


@pytest.mark.parametrize("names", [["silent"], ["silent", "other"], ["silent", "s*"]])
def test_to_resume_on_a_silent_channel_costs_little(names: list[str]):
    """A client that missed nothing is told so without a look at all that other channels had."""
    tail = Tail(10**9)
    for channel in channels("busy", *names):
        tail.acknowledged(channel)
    tail.passed(Position(10))
    for number in range(11, 20_011):
        tail.add(message(number, channel="busy"), Position(number))
    seconds = []
    for _ in range(20):
        started = time.process_time()
        found = numbers(tail, 10, *names)
        seconds.append(time.process_time() - started)

    assert found == []
    assert min(seconds) < (0.001 if "s*" not in names else 0.005)


def test_names_are_forgotten_with_their_messages():
    """A tail that has seen many channels remembers those of the messages that it holds."""
    tail = Tail(100 * size_of([message(1)]))
    tail.acknowledged(A)
    tail.passed(Position(10))
    for number in range(11, 1011):
        add(tail, number, f"c{number}")

    assert len(tail._newest) == len(tail._messages) <= 100


def test_channels_and_patterns_are_told_apart():
    """Each client gets its own."""
    tail = Tail(10**6)
    for channel in channels("a", "b*"):
        tail.acknowledged(channel)
    tail.passed(Position(10))
    for number, name in enumerate(["a", "b1", "b2", "a"], 11):
        add(tail, number, name)

    assert numbers(tail, 10, "a") == [11, 14]
    assert numbers(tail, 10, "b*") == [12, 13]
    assert numbers(tail, 10, "a", "b*") == [11, 12, 13, 14]


def test_after_a_loss_it_begins_at_the_snapshot():
    """The channels go on; what came before is not vouched for."""
    tail = tail_of(11)
    tail.forget(Position(20))
    add(tail, 21)

    assert numbers(tail, 11, "a") is None
    assert numbers(tail, 20, "a") == [21]
