"""What a client is told of losses, where the plain case is not the whole story."""

from __future__ import annotations

from flask_redis_events.clients import Subscription
from flask_redis_events.clients.backlog import Backlog
from flask_redis_events.wire import Batch, Position
from flask_redis_events.wire.control import Loss
from tests.support.factories import batch, foreign, message

ONE = batch(1).size


def losses(batches: list[Batch]) -> list[Loss]:
    return [one for one in batches if isinstance(one, Loss)]


def numbers(batches: list[Batch]) -> list[int]:
    return [one.id.ms for batch in batches for one in batch.messages if one.id]


def test_a_held_client_gets_the_messages_of_the_new_clock():
    """A client that is held while the clock goes back, and begins at an old position, goes on."""
    client = Subscription(held=True)
    client.lose(Loss("rolled back", Position(100), restart=Position(50)))
    client.offer(batch(51))
    client.start(Position(100))
    client.offer(batch(52))
    taken = client.take(0)

    assert len(losses(taken)) == 1
    assert numbers(taken) == [51, 52]


def test_a_dropped_message_without_an_id_hides_no_other_loss():
    """A held client is told of dropped messages after its floor, whatever the last of them was."""
    backlog = Backlog(4 * ONE, "drop")
    for one in (message(6), message(7), foreign("f"), message(8), message(9)):
        backlog.put(Batch([one]))
    backlog.begin([], Position(5))
    taken = backlog.take()

    assert numbers(taken) == [8, 9]
    assert len(losses(taken)) == 1


def test_dropped_messages_without_ids_are_told_of():
    """A held client is told of dropped messages that no history has."""
    backlog = Backlog(2 * ONE, "drop")
    for text in "abcdef":
        backlog.put(Batch([foreign(text)]))
    backlog.begin([], Position(5))

    assert len(losses(backlog.take())) == 1


def test_a_member_is_told_of_what_its_producer_dropped():
    """A member at a position is told that the shared inbox dropped messages, foreign ones too."""
    member = Subscription()
    member.start(Position(5))
    inbox = Subscription(limit=4 * ONE, overflow="drop")
    for one in (message(6), message(7), foreign("f"), message(8), message(9)):
        inbox.offer(Batch([one]))
    [loss] = losses(inbox.take(0))

    assert member.lose(loss)
