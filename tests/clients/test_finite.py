"""A client of a run: it gets what comes before the run's marker, and then its end."""

from __future__ import annotations

import pytest

from flask_redis_events.clients import Finite
from flask_redis_events.exceptions import SubscriptionClosed
from flask_redis_events.wire import PART, Batch, Message, Position, parts
from flask_redis_events.wire.run import marker
from flask_redis_events.wire.sse import decode
from tests.support.factories import message, sent


def marked(number: int) -> Message:
    """Return the message that ends a run."""
    return Message.numbered("orders", marker("finished"), Position(number))


def long(count: int) -> list[Message]:
    """Return messages of which four are a part."""
    return [message(number, "x" * (PART // 5)) for number in range(1, count + 1)]


def numbers(batches: list[Batch]) -> list[int]:
    return [one.id.ms for batch in batches for one in batch.messages if one.id]


@pytest.mark.parametrize("later", [0, 10], ids=["the last message", "others after it"])
def test_a_run_that_has_ended_is_given_in_parts(later: int):
    """However it is taken, all before the marker comes, then `end`, and nothing more."""
    client = Finite(held=True)
    after = [message(number, "x" * PART) for number in range(22, 22 + later)]
    client.start(Position(100), parts([*long(20), marked(21), *after]))
    taken: list[list[Batch]] = []
    with pytest.raises(SubscriptionClosed):
        while True:
            taken.append(client.take(0, most=PART))

    assert [numbers(part) for part in taken[:5]] == [[*range(n, n + 4)] for n in range(1, 20, 4)]
    assert decode(sent(taken[-1]))[-1].event == "end"
    assert sum(map(len, map(numbers, taken))) == 20


def test_what_a_run_has_come_to_does_not_count():
    """A client that has not read the beginning yet has all the room for what is live."""
    client = Finite(held=True, limit=PART)
    client.start(Position(20), parts(long(20)))
    client.take(0, most=PART)
    live = [Batch([one]) for one in long(23)[20:]]
    for batch in live:
        client.offer(batch)

    assert client._backlog is not None
    assert client._backlog.size == sum(batch.size for batch in live)
    assert numbers(client.take(0)) == [*range(5, 24)]
    assert client.closed is None


def test_a_marker_that_arrives_live_is_the_end():
    """A client that waits for more is ended where the run is."""
    client = Finite(held=True)
    client.offer(Batch([message(2), marked(3), message(4)]))
    client.start(Position(1), [Batch([message(1)])])
    taken = client.take(0)

    assert numbers(taken) == [1, 2]
    assert decode(sent(taken))[-1].event == "end"
    assert client.closed is not None
