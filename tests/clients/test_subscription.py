"""One client's mailbox."""

from __future__ import annotations

import pytest

from flask_redis_events import endings
from flask_redis_events.clients import Owner, Subscription
from flask_redis_events.concurrency import spawn
from flask_redis_events.exceptions import SubscriptionClosed
from flask_redis_events.wire import Batch, Position, control
from flask_redis_events.wire.control import Loss
from tests.support.factories import batch, message, sent


class Remembering(Owner):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.counts: list[int] = []
        self.drains = 0

    def closed(self, ending: endings.Ending) -> None:
        self.told.append(ending)

    def drained(self) -> None:
        self.drains += 1

    def dropped(self, count: int) -> None:
        self.counts.append(count)

    def finished(self) -> None:
        self.told.append("finished")


def ids(batches: list[Batch]) -> list[int]:
    """Return the numbers of all messages, in order."""
    return [m.id.ms for one in batches for m in one.messages if m.id]


def test_what_is_offered_is_taken_in_order():
    """take() returns all that waits, and then waits itself."""
    subscription = Subscription()
    subscription.offer(batch(1, 2))
    subscription.offer(batch(3))

    assert ids(subscription.take(0)) == [1, 2, 3]
    assert subscription.take(0.01) == []


def test_an_offer_wakes_the_one_who_waits():
    """take() without a timeout returns as soon as there is something."""
    subscription = Subscription()
    taken: list[Batch] = []
    thread = spawn("test", lambda: taken.extend(subscription.take()))
    subscription.offer(batch(1))
    thread.join(5)

    assert ids(taken) == [1]


def test_history_comes_before_live():
    """start() delivers history first, then what was held, without duplicates."""
    subscription = Subscription(held=True)
    subscription.offer(batch(2))
    subscription.offer(batch(3))

    assert subscription.take(0) == []
    subscription.start(Position(2), [batch(1, 2)])
    assert ids(subscription.take(0)) == [1, 2, 3]


def test_what_history_brought_is_not_brought_again():
    """A live message at or before the floor is skipped, also inside a batch."""
    subscription = Subscription(held=True)
    subscription.start(Position(2))
    subscription.offer(batch(1, 2))
    subscription.offer(batch(2, 3))

    assert ids(subscription.take(0)) == [3]


def test_closing_lets_what_was_accepted_be_taken_first():
    """The last frame comes last; then the reason is raised, again and again."""
    subscription = Subscription()
    subscription.offer(batch(1))
    subscription.close(endings.DRAINING, last=control.end(None))
    subscription.offer(batch(2))
    taken = subscription.take()

    assert ids(taken) == [1]
    assert sent(taken[-1:]) == sent([control.end(None)])
    for _ in range(2):
        with pytest.raises(SubscriptionClosed, match="draining"):
            subscription.take()


def test_closing_is_idempotent():
    """The first reason counts, and the owner is told once."""
    owner = Remembering()
    subscription = Subscription(owner=owner)

    assert subscription.close(endings.MAX_AGE)
    assert not subscription.close(endings.GONE)
    assert subscription.closed is endings.MAX_AGE
    assert owner.told == [endings.MAX_AGE]


def test_closing_wakes_those_who_wait():
    """A waiting take() returns."""
    subscription = Subscription(held=True)
    caught: list[str] = []

    def wait() -> None:
        try:
            subscription.take()
        except SubscriptionClosed as closed:
            caught.append(closed.reason)

    thread = spawn("test", wait)
    subscription.close(endings.GONE)
    thread.join(5)

    assert caught == ["gone"]


def test_a_full_mailbox_closes():
    """By default a client that does not read is cut, and nothing is kept for it."""
    subscription = Subscription(limit=100)
    for number in range(1, 20):
        subscription.offer(batch(number))

    assert subscription.closed is endings.OVERFLOW
    with pytest.raises(SubscriptionClosed):
        subscription.take(0)


def test_one_large_message_passes():
    """A message larger than the limit reaches a client that keeps up."""
    subscription = Subscription(limit=100)
    subscription.offer(Batch([message(1, "x" * 1000)]))

    assert ids(subscription.take(0)) == [1]


def test_drop_keeps_the_newest():
    """One `reset` says that the oldest are missing; what follows is in order and without a hole."""
    subscription = Subscription(limit=200, overflow="drop")
    subscription.owner = owner = Remembering()
    for number in range(1, 50):
        subscription.offer(batch(number))
    taken = subscription.take(0)
    kept = ids(taken)

    assert b"\nevent: reset\n" in sent([taken[0]])
    assert taken[0].position == Position(kept[0] - 1)
    assert b"event: reset" not in sent(taken[1:])
    assert kept == list(range(kept[0], 50))
    assert sum(owner.counts) == kept[0] - 1
    assert sum(one.size for one in taken) <= 300


def test_latest_keeps_the_newest_of_each_key():
    """Superseded values make room, in silence; each key's newest is there."""
    subscription = Subscription(limit=400, overflow="latest")
    for number in range(1, 100):
        subscription.offer(Batch([message(number, key=f"k{number % 3}")]))
    taken = subscription.take(0)

    assert ids(taken)[-3:] == [97, 98, 99]
    assert b"reset" not in sent(taken)


def test_latest_without_keys_drops_the_oldest():
    """Messages that have no key are not superseded by anything."""
    subscription = Subscription(limit=400, overflow="latest")
    for number in range(1, 100):
        subscription.offer(batch(number))
    taken = subscription.take(0)

    assert b"event: reset" in sent([taken[0]])
    assert ids(taken)[-1] == 99


def test_history_is_not_for_who_was_closed_before_it_began():
    """The farewell is all there is: the client may have lost its right to the rest."""
    subscription = Subscription(held=True)
    subscription.close(endings.DISCONNECTED, last=control.end(None))
    subscription.start(Position(1), [batch(1)])

    assert [item.messages for item in subscription.take(0)] == [()]
    with pytest.raises(SubscriptionClosed):
        subscription.take(0)


def test_what_is_held_is_not_for_who_never_began():
    """It would carry the client past the history that belongs before it."""
    subscription = Subscription(held=True)
    subscription.offer(batch(7))
    subscription.close(endings.DRAINING, last=control.reconnect("draining", retry=1))

    assert sent(subscription.take(0)).startswith(b"event: reconnect")


def test_a_heartbeat_is_for_the_idle():
    """It carries the position, is queued once, and not before what waits."""
    subscription = Subscription()

    subscription.beat(Position(5))
    subscription.beat(Position(6))
    assert sent(subscription.take(0)) == b'id: 5-0\nevent: heartbeat\ndata: {"id":"5-0"}\n\n'
    subscription.offer(batch(7))
    subscription.beat(Position(7))
    assert b"heartbeat" not in sent(subscription.take(0))


def test_a_heartbeat_moves_no_cursor_back():
    """A client that had history from beyond this worker's position keeps its own."""
    subscription = Subscription(held=True)
    subscription.start(Position(9))
    subscription.beat(Position(5))

    assert subscription.take(0)[0].position == Position(9)


def test_a_client_without_ids_gets_a_heartbeat_without_one():
    """Where there is no position to move, the heartbeat has a name and no id."""
    subscription = Subscription(numbered=False)
    subscription.beat(Position(5))

    assert sent([subscription.take(0)[0]]) == b"event: heartbeat\ndata: {}\n\n"


def test_a_reset_is_judged_by_the_clients_own_position():
    """Who came after what is lost, lost nothing."""
    early, late = Subscription(), Subscription()
    early.start(Position(5))
    late.start(Position(10))

    assert early.lose(Loss("trimmed", Position(8)))
    assert not late.lose(Loss("trimmed", Position(8)))
    assert sent([early.take(0)[0]]) == b'event: reset\ndata: {"reason":"trimmed"}\n\n'


def test_after_the_clock_went_back_positions_restart():
    """Everyone is told, and newer messages with smaller ids are not taken for old ones."""
    subscription = Subscription()
    subscription.start(Position(100))
    subscription.lose(Loss("rolled back", Position(100), restart=Position(50)))
    subscription.offer(batch(51))
    taken = subscription.take(0)

    assert sent([taken[0]]).startswith(b"id: 50-0\nevent: reset\n")
    assert ids(taken) == [51]


def test_a_source_that_can_wait_waits_for_room():
    """While the backlog is half full; the owner is told when it has been taken."""
    owner = Remembering()
    subscription = Subscription(limit=batch(1).size, owner=owner)
    subscription.offer(batch(1))
    rooms = [subscription.has_room]
    subscription.take(0)
    rooms.append(subscription.has_room)

    assert rooms == [False, True]
    assert owner.drains == 1


def test_history_does_not_count_as_what_waits():
    """However much it is, a live message behind it does not cut the client before it had any."""
    subscription = Subscription(held=True, limit=batch(1).size * 2)
    subscription.start(Position(5), [batch(1, 2, 3, 4, 5)])
    subscription.offer(batch(6))

    assert subscription.closed is None
    assert ids(subscription.take(0)) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    "floor, restart, resets", [(5, None, 1), (9, None, 0), (5, 3, 1), (2, 3, 0)]
)
def test_what_is_lost_before_a_client_begins_is_told_when_it_does(floor, restart, resets):
    """Unless it was chosen after the loss where it begins."""
    subscription = Subscription(held=True)
    new_start = None if restart is None else Position(restart)
    subscription.lose(Loss("trimmed", Position(8), restart=new_start))
    subscription.start(Position(floor))

    assert sent(subscription.take(0)).count(b"event: reset") == resets


def test_history_makes_good_what_was_dropped_before():
    """No `reset` tells of messages that the client has."""
    subscription = Subscription(held=True, limit=batch(1).size * 2, overflow="drop")
    for number in range(1, 6):
        subscription.offer(batch(number))
    subscription.start(Position(5), [batch(1, 2, 3, 4, 5)])

    assert ids(subscription.take(0)) == [1, 2, 3, 4, 5]
    subscription.offer(batch(6, 7))
    assert ids(subscription.take(0)) == [6, 7]


def test_a_reset_that_history_made_needless_does_not_come_back():
    """Neither when superseded messages make room later."""
    size = batch(1).size
    subscription = Subscription(held=True, limit=size * 3, overflow="latest")
    for number in range(1, 8):
        subscription.offer(batch(number))
    subscription.start(Position(100))
    for number in range(101, 110):
        subscription.offer(Batch([message(number, key="k")]))

    assert b"reset" not in sent(subscription.take(0))
