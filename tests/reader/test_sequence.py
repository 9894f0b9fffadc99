"""The order of messages, decided without Redis, clock or threads."""

from __future__ import annotations

import pytest

from flask_redis_events.broker.base import Delivery
from flask_redis_events.broker.coverage import Snapshot
from flask_redis_events.channels import TICKS, Channel
from flask_redis_events.clients import Registry, Subscription
from flask_redis_events.reader.sequence import Sequence
from flask_redis_events.reader.tail import Tail
from flask_redis_events.wire import Message, Position
from flask_redis_events.wire.sse import decode
from tests.support.factories import channels, foreign, message, sent

TTL = 1000


class Scene:
    """A sequence with one client of channels a and b, joined at position 10."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.sequence = Sequence(self.registry, ttl=TTL, tail=Tail(10**6), rest=lambda: None)
        self.client = Subscription(channels("a", "b"))
        self.registry.add(self.client)
        self.refill(10)
        self.client.start(Position(10))

    def live(self, *messages: Message) -> None:
        for one in messages:
            self.sequence.route(Delivery(Channel(one.channel), one))
        self.sequence.flush()

    def refill(self, clock: int, *messages: Message, lost: dict | None = None) -> list[str]:
        return self.sequence.refill(Snapshot(Position(clock), list(messages), lost or {}))

    def got(self) -> list[str]:
        """Return what the client was sent: numbers of messages, and names of control frames."""
        seen = []
        for batch in self.client.take(0):
            seen += [str(m.id.ms if m.id else m.value) for m in batch.messages]
            if not batch.messages:
                seen += [event.event for event in decode(sent([batch]))]
        return seen


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_messages_of_one_read_are_one_batch(scene):
    """A burst on two channels costs the client one write."""
    scene.live(message(11, channel="a"), message(12, channel="b"), foreign("f", channel="a"))

    assert len(scene.client.take(0)) == 1
    assert scene.sequence.position == Position(12)


def test_a_prev_that_was_not_seen_is_a_gap(scene):
    """The chain of each channel shows what pub/sub lost."""
    scene.live(message(11, channel="a"))

    assert not scene.sequence.follows_a_gap(message(13, channel="a", prev=11))
    assert scene.sequence.follows_a_gap(message(13, channel="a", prev=12))


def test_a_prev_before_what_was_seen_is_a_gap(scene):
    """Redis lacks a message that came here: another server has become the master meanwhile."""
    scene.live(message(11, channel="a"), message(12, channel="b"))

    # The same message comes once for each of its patterns.
    assert not scene.sequence.follows_a_gap(message(11, channel="a", prev=10))
    assert scene.sequence.follows_a_gap(message(13, channel="a", prev=10))
    assert scene.sequence.witness.id == Position(11)


def test_the_first_message_of_a_channel_follows_no_gap(scene):
    """Nothing was promised before the acknowledgement."""
    assert not scene.sequence.follows_a_gap(message(50, channel="b", prev=40))


def test_a_channel_that_was_silent_beyond_the_ttl_follows_no_gap(scene):
    """Its history expired, so that prev is a bound: TTL ago, where this worker has been since."""
    scene.live(message(11, channel="a"), message(1500, channel="b", prev=11))

    assert not scene.sequence.follows_a_gap(message(2000, channel="a", prev=1000))
    assert scene.sequence.follows_a_gap(message(2000, channel="a", prev=1900))


def test_messages_without_prev_follow_no_gap(scene):
    """Transient and foreign ones are in no chain."""
    scene.live(message(11, channel="a"))
    transient = Message.numbered("a", b"data: 1\n\n", Position(20))

    assert not scene.sequence.follows_a_gap(transient)
    assert not scene.sequence.follows_a_gap(foreign("f", channel="a"))


def test_a_refill_comes_in_order_and_once(scene):
    """What history brought is skipped when it arrives live as well."""
    scene.live(message(11, channel="a"))
    scene.refill(14, message(12, channel="b"), message(13, channel="a"))
    scene.live(
        message(13, channel="a", prev=12), message(14, channel="b"), message(15, channel="a")
    )

    assert scene.got() == ["11", "12", "13", "15"]


def test_after_a_refill_the_chain_goes_on(scene):
    """Everything up to the snapshot's clock counts as seen, on every channel."""
    scene.live(message(11, channel="a"))
    scene.refill(14)

    assert not scene.sequence.follows_a_gap(message(16, channel="a", prev=14))
    assert scene.sequence.follows_a_gap(message(17, channel="a", prev=15))


def test_who_missed_something_is_reset_before_what_is_left(scene):
    """The client of the channel is told, once, and then gets what there is."""
    reasons = scene.refill(20, message(19, channel="a"), lost={"a": (Position(15), "trimmed")})

    assert reasons == ["trimmed"]
    assert scene.got() == ["reset", "19"]


def test_a_loss_on_a_channel_that_nobody_hears_resets_nobody(scene):
    """Resets are for those who hear the channel."""
    assert scene.refill(20, lost={"c": (Position(15), "trimmed")}) == []
    assert scene.got() == []


def test_when_the_clock_went_back_positions_restart(scene):
    """Otherwise everything newer would look old, and be skipped."""
    scene.refill(5, lost={"": (Position(10), "rolled back")})
    scene.live(message(6, channel="a"))

    assert scene.sequence.position == Position(6)
    assert scene.got() == ["reset", "6"]


def test_ids_that_go_back_are_a_gap_once(scene):
    """Messages come in the order of their ids, also those that history has brought already."""
    scene.refill(20)
    scene.live(message(21, channel="a"))

    assert not scene.sequence.follows_a_gap(message(21, channel="a")), "It is a copy."
    assert scene.sequence.follows_a_gap(message(19, channel="a"))
    scene.refill(22)
    assert not scene.sequence.follows_a_gap(message(19, channel="a"))
    assert not scene.sequence.follows_a_gap(message(22, channel="a"))


def test_overlapping_patterns_deliver_once():
    """A client with a name and a pattern that match the same message gets it once."""
    registry = Registry()
    sequence = Sequence(registry, ttl=TTL, tail=Tail(10**6), rest=lambda: None)
    client = Subscription(channels("a", "a*", "*"))
    registry.add(client)
    sequence.refill(Snapshot(Position(10), [message(9, channel="a")], {}))
    for via in registry.ways("a"):
        sequence.route(Delivery(via, message(11, channel="a")))
    sequence.flush()
    got = [m.id.ms for batch in client.take(0) for m in batch.messages if m.id]

    assert got == [9, 11]


def test_other_channels_chains_are_forgotten_with_their_listeners(scene):
    """A channel that is left and joined again begins a new chain."""
    scene.live(message(11, channel="a"))
    scene.registry.remove(scene.client)
    scene.sequence.forget(channels("a", "b"))
    scene.registry.add(scene.client)

    assert not scene.sequence.follows_a_gap(message(50, channel="a", prev=40))


def test_a_fork_resets_those_who_did_not_see_what_was_lost(scene):
    """Another worker tells by a tick; a worker that received everything itself goes on."""
    tail = scene.sequence.tail
    tail.acknowledged(Channel("a"))
    scene.live(message(11, channel="a"))
    assert tail.after(channels("a"), Position(12)) == []

    def tell(number: int, at: int) -> None:
        frame = b":forked %d-0\n\n" % number
        tick = Message.numbered(TICKS, frame, Position(at))
        scene.sequence.route(Delivery(Channel(TICKS), tick))
        scene.sequence.flush()

    later = 100_000
    scene.refill(later)
    tell(11, at=later + 1)
    assert scene.got() == ["11"]
    tell(15, at=later + 2)
    assert scene.got() == ["reset"]
    tell(15, at=later + 3)
    assert scene.got() == []
    # Nor does memory vouch for those who were away meanwhile.
    assert tail.after(channels("a"), Position(12)) is None


def test_a_channel_that_was_left_makes_no_gap_when_it_is_joined_again(scene):
    """A message still under way then says nothing of what comes after the next SUBSCRIBE."""
    scene.registry.remove(scene.client)
    scene.sequence.forget(channels("a", "b"))
    scene.live(message(11, channel="a"))
    scene.registry.add(scene.client)

    assert not scene.sequence.follows_a_gap(message(50, channel="a", prev=40))


def test_whoever_hears_a_message_has_it_when_the_position_says_so(scene):
    """Redis sends it once for each way; between two of them a heartbeat may carry its id."""
    pattern = Subscription(channels("a*"))
    scene.registry.add(pattern)
    scene.live(message(11, channel="a"))
    assert [m.id for batch in pattern.take(0) for m in batch.messages] == [Position(11)]

    scene.sequence.route(Delivery(Channel("a*", pattern=True), message(11, channel="a")))
    scene.sequence.flush()
    assert (pattern.take(0), scene.got()) == ([], ["11"])


def test_other_data_or_unseen_messages_overtake_a_position(scene):
    """A position proves nothing if what is before it never came here."""
    scene.sequence.tail.acknowledged(Channel("a"))
    scene.live(message(11, channel="b"), message(12, channel="a"), message(14, channel="a"))

    def overtaken(*messages: Message, created: int = 1, **latest: int) -> bool:
        known = {name: Position(number) for name, number in latest.items()}
        found = Snapshot(Position(20), list(messages), {}, Position(created), latest=known)
        return scene.sequence.is_overtaken(found)

    scene.sequence.refill(Snapshot(Position(14), [], {}, Position(1)))
    assert not overtaken(a=14)
    assert not overtaken(a=15), "It is still to come."
    assert overtaken(a=13)
    assert overtaken(a=11), "The same id was that of another message."
    assert not overtaken(b=13), "Nothing says that it should have come."
    later = message(14, channel="a"), message(19, channel="a")
    assert not overtaken(*later, a=19)
    assert overtaken(message(13, channel="a"), *later, a=19), "A busy channel has later ones, too."
    assert overtaken(message(14, "else", channel="a"), a=19), "The same id was that of another."
    assert overtaken(created=2)
    assert not overtaken(created=15), "Then the position is of before the data."
