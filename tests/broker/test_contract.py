"""The promises of every broker: the same tests run on Redis and on memory://."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from redis._parsers import _HiredisParser, _RESP2Parser

from flask_redis_events.broker import KEEP, REMOVE, Broker, Outgoing, StateLimits, open_broker
from flask_redis_events.broker.base import Acknowledgement, Delivery, Feed, Pong, Received
from flask_redis_events.broker.redis import RedisBroker
from flask_redis_events.channels import Channel
from flask_redis_events.exceptions import BrokerError, StateFull
from flask_redis_events.wire import Position
from flask_redis_events.wire.sse import encode
from tests.support.factories import channels
from tests.support.waiting import wait_until

Open = Callable[..., Broker]


@pytest.fixture(params=["redis", "memory"])
def open_one(request, redis_server, prefix) -> Iterator[Open]:
    """Return a function that opens brokers with given settings on one server."""
    opened: list[Broker] = []
    url = redis_server.url if request.param == "redis" else f"memory://{prefix}"

    def open_one(*, history: int = 1000, history_ttl: float = 300.0, **given) -> Broker:
        broker = open_broker(url, prefix=prefix, history=history, history_ttl=history_ttl, **given)
        opened.append(broker)
        return broker

    yield open_one
    for broker in opened:
        broker.close()


@pytest.fixture
def broker(open_one) -> Broker:
    return open_one()


def emit(broker: Broker, channel: str = "a", text: str = "x", **options) -> Position | None:
    return broker.publish(channel, encode(text), **options)


def read(feed: Feed, count: int) -> list[Received]:
    """Read until at least `count` items have arrived."""
    received: list[Received] = []
    wait_until(lambda: len(received.__iadd__(feed.read(0.1))) >= count, 5)
    return received


def texts(received: list[Received]) -> list[str]:
    return [item.message.value for item in received if isinstance(item, Delivery)]


def test_a_subscription_is_acknowledged(broker):
    """Messages published after the acknowledgement arrive in order, with their ids."""
    feed = broker.open()
    feed.subscribe(channels("a", "b*"))

    assert {item.channel for item in read(feed, 2)} == set(channels("a", "b*"))
    ids = [
        emit(broker, "a", "p"),
        emit(broker, "b2", "q"),
        emit(broker, "c"),
        emit(broker, "a", "r"),
    ]
    received = read(feed, 3)
    assert texts(received) == ["p", "q", "r"]
    assert [item.message.id for item in received] == [ids[0], ids[1], ids[3]]
    assert [item.via for item in received] == channels("a", "b*", "a")
    feed.close()


def test_an_unsubscribed_channel_is_silent(broker):
    """A channel that was given up sends nothing more; the others go on."""
    feed = broker.open()
    feed.subscribe(channels("a", "b"))
    read(feed, 2)
    feed.unsubscribe(channels("a"))
    emit(broker, "a", "p")
    emit(broker, "b", "q")

    assert texts(read(feed, 1)) == ["q"]
    feed.close()


def test_a_feed_hears_one_message_through_each_subscription(broker):
    """A message arrives once for its channel's name and once for each pattern that matches."""
    feed = broker.open()
    feed.subscribe(channels("a", "a*", "*"))
    read(feed, 3)
    emit(broker, "a")

    assert {item.via for item in read(feed, 3)} == set(channels("a", "a*", "*"))
    feed.close()


def test_reading_waits_no_longer_than_asked(broker):
    """An idle feed returns [] after the timeout, and stays usable."""
    feed = broker.open()
    feed.subscribe(channels("a"))
    read(feed, 1)

    assert feed.read(0.01) == []
    emit(broker)
    assert texts(read(feed, 1)) == ["x"]
    feed.close()


def test_a_ping_is_answered(broker):
    """A ping is answered with a Pong, which tests the connection where there are no ids."""
    feed = broker.open()
    feed.subscribe(channels("a"))
    feed.ping()

    assert Pong() in read(feed, 2)
    feed.close()


def test_a_closed_feed_raises(broker):
    """Reading from a closed feed raises BrokerError, and does not reconnect."""
    feed = broker.open()
    feed.subscribe(channels("a"))
    feed.close()

    with pytest.raises(BrokerError):
        while True:
            feed.read(0.1)


@pytest.mark.parametrize("parser", [_HiredisParser, _RESP2Parser])
def test_closing_ends_a_read_under_way(redis_server, prefix, parser):
    """Closing ends a waiting read with BrokerError, with each of redis-py's parsers."""
    client = redis_server.client()
    client.connection_pool.connection_kwargs["parser_class"] = parser
    broker = RedisBroker(redis_server.url, prefix=prefix, history=1, history_ttl=1, client=client)
    feed = broker.open()
    feed.subscribe(channels("a"))
    read(feed, 1)
    ended: list[BaseException] = []

    def go_on() -> None:
        try:
            while True:
                feed.read(5)
        except BaseException as error:
            ended.append(error)

    reader = threading.Thread(target=go_on)
    reader.start()
    time.sleep(0.05)  # The thread now waits in a read, or will end at its next one; both are right.
    feed.close()
    reader.join(5)

    assert [type(error) for error in ended] == [BrokerError]


def test_ids_grow_over_all_channels(broker):
    """Ids of all channels come from one clock, so they grow in the order of publishing."""
    ids = [emit(broker, f"c{number % 7}") for number in range(200)]

    assert all(earlier < later for earlier, later in pairwise(ids))


def test_each_message_names_the_one_before_it_on_its_channel(broker):
    """`prev` is the id of the channel's last message, or an earlier bound for its first one."""
    before = broker.replay([]).clock
    ids = [emit(broker, "a"), emit(broker, "b"), emit(broker, "a"), emit(broker, "b")]
    prevs = [m.prev for m in broker.replay(channels("a", "b"), after=before).messages]

    assert prevs[2:] == ids[:2]
    assert prevs[0] <= before
    assert prevs[1] <= before


def test_the_first_message_of_all_follows_a_position(open_one):
    """On an empty Redis the clock begins before the first id, so a client can have a cursor."""
    broker = open_one()
    id = emit(broker)
    [first] = broker.replay(channels("a"), last=1).messages
    assert first.prev < id

    again = broker.replay(channels("a"), after=first.prev)
    assert ([m.id for m in again.messages], again.reason) == ([id], None)


def test_replay_merges_channels_in_order(broker):
    """A replay returns the messages after the cursor on the requested channels, in order."""
    ids = [emit(broker, name, name) for name in ("a", "b", "c", "a", "b2", "a")]
    snapshot = broker.replay(channels("a", "b*"), after=ids[0])

    assert [(m.channel, m.id) for m in snapshot.messages] == [
        ("b", ids[1]),
        ("a", ids[3]),
        ("b2", ids[4]),
        ("a", ids[5]),
    ]
    assert (snapshot.clock, snapshot.reason) == (ids[5], None)
    assert snapshot.messages[0].value == "b"


def test_replay_of_the_last_messages(broker):
    """Without a cursor, a replay returns the last messages of all requested channels, in order."""
    for number in range(10):
        emit(broker, f"c{number % 3}", str(number))
    snapshot = broker.replay(channels("c0", "c1", "c2"), last=4)

    assert [m.value for m in snapshot.messages] == [6, 7, 8, 9]


def test_a_transient_message_is_not_kept(open_one):
    """A transient message has an id but no prev, and is not in history."""
    broker = open_one()
    feed = broker.open()
    feed.subscribe(channels("a"))
    read(feed, 1)
    before = emit(broker)
    id = emit(broker, persist=False)
    received = read(feed, 2)

    assert (received[1].message.id, received[1].message.prev) == (id, None)
    assert broker.replay(channels("a"), after=before).messages == []
    assert broker.replay(channels("a"), after=before).clock == id
    feed.close()


def test_without_history_there_are_no_ids(open_one):
    """Without history, messages arrive without ids, and none is kept."""
    broker = open_one(history=0)
    feed = broker.open()
    feed.subscribe(channels("a"))
    read(feed, 1)

    assert emit(broker, text="hello") is None
    message = read(feed, 1)[0].message
    assert (message.id, message.value, message.frame) == (None, "hello", encode("hello"))
    feed.close()


def test_a_key_travels_with_the_message(broker):
    """A message has its key both live and from history."""
    feed = broker.open()
    feed.subscribe(channels("a"))
    read(feed, 1)
    before = broker.replay([]).clock
    emit(broker, key="EUR USD")

    assert read(feed, 1)[0].message.key == "EUR USD"
    assert broker.replay(channels("a"), after=before).messages[0].key == "EUR USD"
    feed.close()


def test_a_trimmed_cursor_is_not_covered(open_one):
    """A cursor from before the oldest kept message is reported as trimmed."""
    broker = open_one(history=5)
    first = emit(broker, "a")
    other = emit(broker, "b")
    for _ in range(300):
        last = emit(broker, "a")

    assert broker.replay(channels("a"), after=first).reason == "trimmed"
    assert broker.replay(channels("b"), after=other).reason is None
    assert broker.replay(channels("a"), after=last).reason is None
    assert broker.replay(channels("a", "b"), after=first).lost.keys() == {"a"}


def test_an_expired_cursor_is_not_covered(open_one):
    """A history that has expired covers only cursors that are younger than its TTL."""
    broker = open_one(history_ttl=0.2)
    old = emit(broker, "a")
    emit(broker, "a")
    wait_until(lambda: broker.replay(channels("a"), after=old).messages == [], 5)
    wait_until(lambda: broker.replay(channels("a"), after=old).reason == "expired", 5)
    recent = emit(broker, "z", persist=False)

    assert broker.replay(channels("a"), after=recent).reason is None
    assert broker.replay(channels("*"), after=old).reason == "expired"


def test_a_quiet_channel_is_covered(broker):
    """A cursor from before a channel's first message is covered, and gets all its messages."""
    cursor = broker.replay([]).clock
    emit(broker, "other")
    ids = [emit(broker, "a"), emit(broker, "a")]
    snapshot = broker.replay(channels("a", "never"), after=cursor)

    assert ([m.id for m in snapshot.messages], snapshot.reason) == (ids, None)


def test_a_cursor_from_before_the_clock_is_not_covered(broker):
    """A cursor from before the clock's beginning is reported as flushed."""
    created = broker.replay([]).clock
    snapshot = broker.replay(channels("a"), after=Position(created.ms - 5000))

    assert snapshot.reason == "flushed"


def test_a_cursor_from_the_future_is_rolled_back(broker):
    """A cursor ahead of the clock is reported as rolled back, as after a failover."""
    ahead = Position(int(time.time() * 1000) + 3_600_000)
    snapshot = broker.replay(channels("a"), after=ahead)

    assert snapshot.reason == "rolled back"
    assert snapshot.clock < ahead


def test_acknowledgements_name_their_channel(broker):
    """A channel that is left and joined again is acknowledged once for each SUBSCRIBE."""
    feed = broker.open()
    feed.subscribe(channels("a"))
    feed.unsubscribe(channels("a"))
    feed.subscribe(channels("a"))
    received = read(feed, 2)

    assert received.count(Acknowledgement(Channel("a"))) == 2
    feed.close()


def test_many_are_published_in_order(broker):
    """`publish_many` publishes in order, and gives each message its id and `prev`."""
    before = broker.replay([]).clock
    messages = [(f"c{number % 3}", encode(str(number))) for number in range(100)]
    ids = broker.publish_many(messages)
    replayed = broker.replay(channels("c0", "c1", "c2"), after=before).messages

    assert [m.id for m in replayed] == ids == sorted(ids)
    assert [m.frame.partition(b"\n")[2] for m in replayed] == [frame for _, frame in messages]
    assert broker.publish_many([("a", encode("x"))], persist=False)[0] > ids[-1]


def test_an_evicted_history_is_not_covered(redis_server, prefix):
    """If Redis evicts a history, cursors from before its last message are reported."""
    broker = open_broker(redis_server.url, prefix=prefix, history=10, history_ttl=300)
    before = broker.replay([]).clock
    wait_until(lambda: redis_server.client().time()[1] // 1000 != before.ms % 1000)
    last = emit(broker, "a")
    redis_server.client().delete(f"{prefix}history:a")

    assert broker.replay(channels("a"), after=before).reason == "evicted"
    assert broker.replay(channels("a"), after=last).reason is None
    # The `prev` of the channel's next message shows the loss, too.
    emit(broker, "a")
    assert broker.replay(channels("a"), after=before).reason == "trimmed"
    assert broker.replay(channels("a"), after=last).reason is None
    broker.close()


# -- the state: the newest value of each key -------------------------------------------------------


def keep(broker: Broker, channel: str, key: str, text: str = "x") -> Position | None:
    return broker.publish(channel, encode(text), key=key, keep=KEEP)


def state(broker: Broker, *names: str) -> list[tuple[str, str | None, str]]:
    """Return what the state of channels has: channel, key and value, in the order of their ids."""
    found = broker.replay(channels(*names), state=True)
    assert found.reason is None
    return [(one.channel, one.key, str(one.value)) for one in found.messages]


def test_the_state_has_the_newest_value_of_each_key(broker):
    """Values of all channels come in the order of their ids, with their ids; others do not."""
    keep(broker, "a", "p", "old")
    ids = [keep(broker, "b", "p", "1"), keep(broker, "a", "q ü", "2"), keep(broker, "a", "p", "3")]
    keep(broker, "other", "p")
    emit(broker, "a", "not kept", key="p")
    found = broker.replay(channels("a", "b"), state=True)

    assert [one.id for one in found.messages] == ids
    assert found.messages[2].frame == b"id: %b\n" % str(ids[2]).encode() + encode("3")
    assert state(broker, "a", "b") == [("b", "p", "1"), ("a", "q ü", "2"), ("a", "p", "3")]
    assert found.clock > ids[2]
    assert state(broker, "never") == []


def test_a_value_is_an_event_like_any_other(open_one):
    """It is kept in history, and delivered with the id and key that it has in the state."""
    broker = open_one()
    feed = broker.open()
    feed.subscribe(channels("a"))
    read(feed, 1)
    before = emit(broker, "a", "before")
    id = keep(broker, "a", "p", "1")
    live = [item.message for item in read(feed, 2) if isinstance(item, Delivery)][-1]
    feed.close()

    assert (live.id, live.key, live.prev, live.value) == (id, "p", before, 1)
    assert [one.id for one in broker.replay(channels("a"), last=9).messages] == [before, id]


def test_patterns_find_states(broker):
    """A pattern has the values of all channels that match, also of many."""
    for number in range(30):
        keep(broker, f"price:{number}", "p", str(number))
    keep(broker, "price", "p")
    broker.publish("price:99", encode("x"))

    assert [value for _, _, value in state(broker, "price:*")] == [str(n) for n in range(30)]
    assert state(broker, "price:7", "price:?")[7] == ("price:7", "p", "7")
    assert len(state(broker, "price:7", "price:?")) == 10


def test_a_key_is_removed(broker):
    """The message that removes it is delivered and kept; a state without keys is gone."""
    keep(broker, "a", "p")
    keep(broker, "a", "q", "2")
    id = broker.publish("a", encode("gone"), key="p", keep=REMOVE)

    assert state(broker, "a") == [("a", "q", "2")]
    assert broker.replay(channels("a"), last=1).messages[0].id == id
    broker.publish("a", encode("gone"), key="never", keep=REMOVE)
    broker.publish("a", encode("gone"), key="q", keep=REMOVE)
    assert state(broker, "a") == state(broker, "*") == []


def test_a_state_has_as_many_keys_as_it_may(open_one):
    """One more is refused, and nothing of it is published; the keys that are there go on."""
    broker = open_one(state=StateLimits(keys=2))
    keep(broker, "a", "p", "1")
    last = keep(broker, "a", "q", "2")
    with pytest.raises(StateFull, match=r"'a' may have 2 keys .*_STATE_KEYS.* 'r' .*remove"):
        keep(broker, "a", "r")
    with pytest.raises(StateFull):
        broker.publish_many([("a", encode("x")), Outgoing("a", encode("x"), "r", KEEP)])

    assert broker.replay(channels("a"), last=1).messages[0].id == last
    keep(broker, "a", "p", "3")
    keep(broker, "b", "r")
    assert state(broker, "a") == [("a", "q", "2"), ("a", "p", "3")]
    broker.publish("a", encode("x"), key="p", keep=REMOVE)
    keep(broker, "a", "r", "4")
    assert state(broker, "a") == [("a", "q", "2"), ("a", "r", "4")]


def test_a_state_has_as_many_bytes_as_it_may(open_one):
    """Keys, frames and 32 bytes for each of them count; a value may always become smaller."""
    broker = open_one(state=StateLimits(size=1024))
    keep(broker, "a", "p", "x" * 400)
    keep(broker, "a", "q", "x" * 400)
    with pytest.raises(StateFull, match=r"may have 1024 bytes .*_STATE_BYTES.* 'q' "):
        keep(broker, "a", "q", "x" * 600)
    with pytest.raises(StateFull):
        keep(broker, "a", "r", "x" * 200)

    keep(broker, "a", "p", "x" * 100)
    keep(broker, "a", "q", "x" * 600)
    assert [len(value) for _, _, value in state(broker, "a")] == [100, 600]
    # The exact limit.
    room = 1024 - sum(1 + 32 + len(encode("x" * length)) for length in (100, 600))
    text = "x" * (room - 1 - 32 - len(encode("")))
    with pytest.raises(StateFull):
        keep(broker, "a", "r", text + "x")
    keep(broker, "a", "r", text)


def test_many_values_in_one_call(open_one):
    """Messages of one call that keep, remove and do neither change the states in their order."""
    broker = open_one(state=StateLimits(keys=2))
    ids = broker.publish_many(
        [
            Outgoing("a", encode("1"), "p", KEEP),
            Outgoing("b", encode("2"), "p", KEEP),
            ("a", encode("3")),
            Outgoing("a", encode("4"), "p", KEEP),
            Outgoing("a", encode("5"), "q", KEEP),
            Outgoing("a", encode("6"), "q", REMOVE),
            Outgoing("a", encode("7"), "r", KEEP),
        ]
    )

    assert state(broker, "a", "b") == [("b", "p", "2"), ("a", "p", "4"), ("a", "r", "7")]
    found = broker.replay(channels("a", "b"), state=True)
    assert [one.id for one in found.messages] == [ids[1], ids[3], ids[6]]


def test_a_state_may_be_too_much(broker):
    """A client that would be given more than it may is told so."""
    keep(broker, "a", "p", "x" * 5000)
    keep(broker, "a", "q", "x" * 5000)

    found = broker.replay(channels("a"), state=True, max_bytes=8000)
    assert (found.messages, found.reason) == ([], "too much")
    assert broker.replay(channels("a"), state=True, max_bytes=20_000).reason is None


def test_a_state_expires(open_one):
    """It outlives its last change by the limit's time."""
    broker = open_one(state=StateLimits(ttl=0.3))
    keep(broker, "a", "p")
    time.sleep(0.2)
    keep(broker, "a", "q")
    time.sleep(0.2)

    assert len(state(broker, "a")) == len(state(broker, "*")) == 2
    wait_until(lambda: state(broker, "a") == [], 5)
    assert state(broker, "*") == []
