"""What only the broker on Redis can do wrong: its keys, its clock, its steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flask_redis_events.broker import KEEP, StateLimits, history, index, open_broker, redis
from flask_redis_events.broker.redis import RedisBroker
from flask_redis_events.exceptions import BrokerError
from flask_redis_events.wire import Position
from flask_redis_events.wire.sse import encode
from tests.support.factories import channels
from tests.support.servers import RedisServer
from tests.support.travel import TravellingRedis
from tests.support.waiting import wait_until

Open = Callable[..., RedisBroker]


@pytest.fixture
def open_one(redis_server: RedisServer, prefix: str) -> Iterator[Open]:
    """Return a function that opens brokers with given settings."""
    opened: list[RedisBroker] = []

    def open_one(**options: Any) -> RedisBroker:
        given = {"history": 1000, "history_ttl": 300.0, **options}
        opened.append(RedisBroker(redis_server.url, prefix=prefix, **given))
        return opened[-1]

    yield open_one
    for broker in opened:
        broker.close()


@pytest.fixture
def broker(open_one: Open) -> RedisBroker:
    return open_one()


@pytest.fixture
def delete(redis_server: RedisServer, prefix: str) -> Callable[..., object]:
    """Return a function that deletes keys, as Redis does when it evicts."""
    client = redis_server.client()
    return lambda *names: client.delete(*(prefix + name for name in names))


def emit(broker: RedisBroker, *names: str) -> list[Position]:
    """Emit one event on each channel, in one call."""
    ids = broker.publish_many([(name, encode("x")) for name in names])
    return [id for id in ids if id is not None]


# -- what was evicted ------------------------------------------------------------------------------


def test_an_eviction_within_a_millisecond_is_noticed(broker, delete):
    """A history evicted after a burst is missed by cursors of the same millisecond, too."""
    ids = emit(broker, *["a"] * 16)
    delete("history:a")

    assert {id.ms for id in ids} == {ids[0].ms}
    assert broker.replay(channels("a"), after=ids[0]).lost == {"a": (ids[-1], "evicted")}
    assert broker.replay(channels("a"), after=ids[-1]).reason is None


def test_without_the_index_patterns_are_not_covered(broker, delete):
    """A pattern whose channels cannot be found is reset, and exact channels are not."""
    [cursor] = emit(broker, "a")
    emit(broker, "a")
    delete("channels")

    assert broker.replay(channels("*"), after=cursor).reason == "evicted"
    assert broker.replay(channels("a"), after=cursor).reason is None
    # It is made again by the next channel, but of the busy one it does not know yet.
    emit(broker, "b", "a")
    assert broker.replay(channels("*"), after=cursor).lost[""][1] == "evicted"
    assert broker.replay(channels("a"), after=cursor).reason is None


def test_an_index_that_is_evicted_while_it_is_read_is_noticed(broker, delete, monkeypatch):
    """Channels that it lacks are not taken for silent, though it was complete a moment before."""
    [cursor] = emit(broker, "b")
    emit(broker, "a1")
    since = index.Index.since
    evicted: list[int] = []

    def evict_first(self, ms):
        if not evicted:
            evicted.append(delete("channels"))
            # Another channel makes it anew.
            emit(broker, "b2")
        return since(self, ms)

    monkeypatch.setattr(index.Index, "since", evict_first)
    snapshot = broker.replay(channels("a*"), after=cursor)

    assert snapshot.reason == "evicted"


def test_the_index_is_complete_again_in_the_next_grain(open_one, delete):
    """Positions of after the next grain are covered for patterns, too."""
    broker = open_one(history_ttl=2)
    emit(broker, "a")
    delete("channels")
    emit(broker, "a", "b")
    time.sleep(0.25)
    [cursor, id] = emit(broker, "b", "a")
    snapshot = broker.replay(channels("*"), after=cursor)

    assert ([m.id for m in snapshot.messages], snapshot.reason) == ([id], None)


def test_an_index_that_began_anew_knows_busy_channels(broker, delete):
    """If Redis evicts `meta` with the index, the index is complete since the clock began anew."""
    emit(broker, "a", "b")
    delete("channels", "meta")
    [cursor, id] = emit(broker, "b", "a")
    snapshot = broker.replay(channels("a*"), after=cursor)

    assert ([m.id for m in snapshot.messages], snapshot.reason) == ([id], None)


def test_a_channel_without_any_trace_is_known_by_the_index(broker, delete):
    """If history and last id are evicted, the index shows that something is missing."""
    [cursor] = emit(broker, "b")
    emit(broker, "a")
    delete("history:a", "last:a")

    assert broker.replay(channels("a"), after=cursor).reason == "evicted"
    emit(broker, "a")
    assert broker.replay(channels("a"), after=cursor).reason == "trimmed"
    delete("history:a", "last:a", "channels")
    assert broker.replay(channels("a"), after=cursor).reason == "evicted"


def test_an_evicted_clock_goes_on(broker, delete):
    """Ids grow if the clock was evicted, and older positions hold no more."""
    [before] = emit(broker, "a")
    delete("ids", "meta")
    [after] = emit(broker, "a")

    assert before < after
    assert broker.replay(channels("a"), after=before).reason == "flushed"


def test_a_state_expires_at_its_own_time(open_one):
    """A process with a shorter TTL, as after a change of the setting, hides it from no pattern."""
    long, short = open_one(), open_one(state=StateLimits(ttl=0.2))
    long.publish("a", encode("x"), key="p", keep=KEEP)
    short.publish("b", encode("x"), key="p", keep=KEEP)

    def found(*names: str) -> list[str]:
        return [m.channel for m in long.replay(channels(*names), state=True).messages]

    wait_until(lambda: found("b") == [], 5)
    assert found("*") == found("a") == ["a"]


def test_a_history_that_is_made_anew_expires(broker, delete, redis_server, prefix):
    """A history that was evicted within its grain gets a time at which it expires again."""
    emit(broker, "a")
    delete("history:a")
    emit(broker, "a")

    assert redis_server.client().pttl(f"{prefix}history:a") > 299_000


# -- time ------------------------------------------------------------------------------------------


@pytest.fixture
def travelling(travelling_redis: TravellingRedis) -> Iterator[RedisBroker]:
    broker = RedisBroker(travelling_redis.url, prefix="p:", history=1000, history_ttl=300)
    yield broker
    broker.close()


HOUR = 3600


def test_silence_is_proved_for_a_day(travelling, travelling_redis):
    """A client that has a silent channel's last event resumes without a reset for a day."""
    missed, had = emit(travelling, "a", "a")
    [now] = emit(travelling, "other")
    travelling_redis.travel(23 * HOUR)

    for cursor in (had, now):
        assert travelling.replay(channels("a", "never"), after=cursor).reason is None
    assert travelling.replay(channels("a"), after=missed).reason == "expired"
    travelling_redis.travel(2 * HOUR)
    assert travelling.replay(channels("a"), after=had).reason == "expired"
    assert travelling.replay(channels("never"), after=now).reason == "expired"


def test_a_known_last_event_is_enough_however_old_the_cursor_is(travelling, travelling_redis):
    """While Redis knows the last id of each channel, the age of a cursor is of no importance."""
    [cursor] = emit(travelling, "a")
    travelling_redis.travel(0.9 * 24 * HOUR)
    emit(travelling, "b")
    travelling_redis.client().pexpire("p:last:a", 24 * HOUR * 1000)
    travelling_redis.travel(0.9 * 24 * HOUR)

    assert travelling.replay(channels("a"), after=cursor).reason is None


def test_a_clock_that_was_set_back_hides_no_loss(travelling, travelling_redis):
    """Events emitted while ids run ahead of Redis' time are kept as long as promised."""
    [cursor] = emit(travelling, "a")
    travelling_redis.travel(-HOUR)
    ids = emit(travelling, "new", "a")
    travelling_redis.travel(HOUR / 2)
    # More than the TTL later, but the ids have not gone on.
    assert [m.id for m in travelling.replay(channels("a", "new"), after=cursor).messages] == ids
    travelling_redis.travel(HOUR)

    for name in ("a", "new", "*"):
        snapshot = travelling.replay(channels(name), after=cursor)
        assert snapshot.messages or snapshot.reason == "expired"


def test_the_proof_of_silence_lasts_as_long_as_the_ids_say(travelling, travelling_redis):
    """A channel's last id is known for a day of its own clock, which ran ahead of Redis' time."""
    emit(travelling, "other")
    travelling_redis.travel(-HOUR)
    [had] = emit(travelling, "a")
    travelling_redis.travel(24.5 * HOUR)

    assert travelling.replay(channels("a"), after=had).reason is None


@pytest.mark.parametrize("persist", [True, False])
@pytest.mark.parametrize("evicted", ["ids", "ids channels", "ids meta"])
def test_an_evicted_clock_goes_on_although_it_was_set_back(
    travelling, travelling_redis, evicted: str, persist: bool
):
    """The index and `meta` each show how far the ids had come, also those of transient messages."""
    emit(travelling, "a")
    travelling_redis.travel(HOUR)
    before = travelling.publish("b", encode("x"), persist=persist)
    travelling_redis.travel(-HOUR)
    travelling_redis.client().delete(*[f"p:{key}" for key in evicted.split()])

    assert emit(travelling, "a")[0] > before
    assert travelling.replay(channels("b"), after=before).reason == "flushed"


def test_a_position_is_not_given_out_again(travelling, travelling_redis):
    """Nothing was emitted since the clock began, which was evicted after it was set back."""
    before = travelling.replay([]).clock
    travelling_redis.travel(-HOUR)
    travelling_redis.client().delete("p:ids", "p:channels")

    assert travelling.replay([]).clock > before


def test_names_leave_the_index(travelling, travelling_redis):
    """Channels that came and went leave no trace for ever."""
    client = travelling_redis.client()
    for number in range(100):
        emit(travelling, f"job:{number}")
    travelling_redis.travel(25 * HOUR)
    for number in range(20):
        emit(travelling, f"later:{number}")

    # The entry without a name says since when it is complete, and that of `$ticks` is the clock's.
    assert client.zcard("p:channels") == 22
    assert len(client.keys("p:last:*")) == len(client.keys("p:history:*")) == 20


# -- steps -----------------------------------------------------------------------------------------


def in_steps(broker: RedisBroker, meanwhile: Callable[[], object]) -> list[int]:
    """Do something after each step of a replay; return how many steps there are."""
    steps = [0]
    run = broker._run

    def step(script: str, keys: Any, arguments: Any) -> Any:
        reply = run(script, keys, arguments)
        if script == "replay":
            steps[0] += 1
            broker._run = run  # type: ignore[method-assign]
            meanwhile()
            broker._run = step  # type: ignore[method-assign]
        return reply

    broker._run = step  # type: ignore[method-assign]
    return steps


def test_a_long_history_is_read_in_steps(broker):
    """All steps show the moment of the first one; what is newer arrives live."""
    cursor = broker.replay([]).clock
    names = [f"c{number % 3}" for number in range(2500)]
    ids = emit(broker, *names)
    steps = in_steps(broker, lambda: emit(broker, *names[:30]))
    snapshot = broker.replay(channels("c0", "c1", "c2"), after=cursor)

    assert [m.id for m in snapshot.messages] == ids
    assert (snapshot.clock, snapshot.reason) == (ids[-1], None)
    assert 0 <= steps[0] - 2500 // history.ENTRIES <= 3
    assert len(broker.replay(channels("c*"), last=1200).messages) == 1200


def test_large_messages_are_read_a_few_at_a_time(broker):
    """A step carries about a megabyte."""
    cursor = broker.replay([]).clock
    for _ in range(40):
        broker.publish("a", encode("x" * 100_000))
    steps = in_steps(broker, lambda: None)

    assert len(broker.replay(channels("a"), after=cursor).messages) == 40
    assert steps[0] >= 2


def test_many_channels_are_read_in_steps(broker):
    """A step looks at so many channels and no more."""
    cursor = broker.replay([]).clock
    names = [f"c{number}" for number in range(1000)]
    ids = emit(broker, *names)
    steps = in_steps(broker, lambda: emit(broker, "c999"))

    assert [m.id for m in broker.replay(channels(*names), after=cursor).messages] == ids
    assert steps[0] == 1000 // history.CHANNELS


def test_what_is_trimmed_between_two_steps_is_told(open_one):
    """The chain shows what was deleted while history was read."""
    broker = open_one(history=600)
    cursor = broker.replay([]).clock
    emit(broker, *["a"] * 600)
    in_steps(broker, lambda: emit(broker, *["a"] * 1000))
    snapshot = broker.replay(channels("a"), after=cursor)

    assert snapshot.reason == "trimmed"
    assert broker.replay(channels("a"), after=snapshot.clock).reason in (None, "trimmed")


def test_a_flush_between_two_steps_begins_anew(broker, redis_server, prefix):
    """A replay in whose midst Redis is flushed tells of it."""
    cursor = broker.replay([]).clock
    emit(broker, *["a"] * 1200)
    client = redis_server.client()
    flushed: list[int] = []

    def flush() -> None:
        if not flushed:
            flushed.append(client.delete(*client.keys(f"{prefix}*")))
            emit(broker, "a")

    time.sleep(0.002)
    in_steps(broker, flush)
    snapshot = broker.replay(channels("a"), after=cursor)

    assert (snapshot.reason, len(snapshot.messages)) == ("flushed", 1)


def test_a_replay_may_be_too_much(broker):
    """A replay with more bytes than allowed has no messages, and says so."""
    cursor = broker.replay([]).clock
    ids = emit(broker, *["a"] * 100)
    size = sum(len(m.frame) for m in broker.replay(channels("a"), after=cursor).messages)

    assert broker.replay(channels("a"), after=cursor, max_bytes=size).reason is None
    for channel in ("a", "a*"):
        snapshot = broker.replay(channels(channel), after=cursor, max_bytes=size - 1)
        assert (snapshot.messages, snapshot.clock) == ([], ids[-1])
        assert snapshot.lost == {"": (ids[-1], "too much")}


def test_a_limit_ends_the_reading(broker):
    """With a limit the first messages after the cursor are read, and no more."""
    ids = emit(broker, *["a"] * 900)
    steps = in_steps(broker, lambda: None)
    snapshot = broker.replay(channels("a"), after=ids[0], limit=30)

    assert [m.id for m in snapshot.messages] == ids[1:31]
    assert (steps, snapshot.reason) == ([1], None)


# -- patterns --------------------------------------------------------------------------------------


def test_channels_of_patterns_are_found_among_many(broker):
    """With few channels that have news, and with many, patterns find the same."""
    emit(broker, *(f"old:{number}" for number in range(1500)))
    cursor = broker.replay([]).clock
    ids = emit(broker, "x:1", "y:2", "x:3", "z")
    wanted = [ids[0], ids[1], ids[2]]

    assert [
        m.id for m in broker.replay(channels("x:*", "[wxy]:?"), after=cursor).messages
    ] == wanted
    many = emit(broker, *(f"new:{number}" for number in range(1500)))
    snapshot = broker.replay(channels("x:*", "[wxy]:?"), after=cursor)
    assert ([m.id for m in snapshot.messages], snapshot.reason) == (wanted, None)
    assert len(broker.replay(channels("new:*", "*"), after=cursor).messages) == 1504
    assert [m.id for m in broker.replay(channels("*"), last=5).messages] == many[-5:]
    assert [m.id for m in broker.replay(channels("[xy]:*"), last=2).messages] == wanted[1:]


def test_clients_with_patterns_wait_for_each_other(broker, monkeypatch):
    """One pattern is looked for at a time in each process; exact channels need not wait."""
    monkeypatch.setattr(redis, "PATIENCE", 0.1)
    cursor = broker.replay([]).clock
    with broker._commands.process.searching:
        assert broker.replay(channels("a"), after=cursor, max_bytes=9).reason is None
        assert broker.replay(channels("a*"), after=cursor).reason is None
        with pytest.raises(BrokerError, match="Too many clients with patterns"):
            broker.replay(channels("a*"), after=cursor, max_bytes=9)

    assert broker.replay(channels("a*"), after=cursor, max_bytes=9).reason is None


def test_too_many_channels_are_too_much(broker, monkeypatch):
    """A pattern with more channels than one replay may read is reset."""
    monkeypatch.setattr(index, "MATCHES", 50)
    monkeypatch.setattr(index, "NAMES", 20)
    cursor = broker.replay([]).clock
    emit(broker, *(f"c{number}" for number in range(60)))

    assert broker.replay(channels("c*"), after=cursor).reason == "too much"
    assert broker.replay(channels("c1*"), after=cursor).reason is None
    assert len(broker.replay(channels("c*"), last=7).messages) == 7


# -- layouts ---------------------------------------------------------------------------------------


def test_layouts_are_not_mixed(open_one, redis_server, prefix):
    """A broker refuses to publish, replay and read where another version's keys are."""
    redis_server.client().hset(f"{prefix}meta", "layout", "3")
    broker = open_one()

    for call in (
        lambda: broker.publish("a", encode("x")),
        lambda: broker.replay(channels("a")),
        broker.open,
    ):
        with pytest.raises(BrokerError, match=r"have layout 3, .* uses layout 2\. Run the same"):
            call()
    assert redis_server.client().keys(f"{prefix}*") == [f"{prefix}meta".encode()]


def test_an_open_broker_notices_another_layout(broker, redis_server, prefix):
    """A feed that connects again looks at the layout again."""
    broker.open().close()
    redis_server.client().hset(f"{prefix}meta", "layout", "3")

    with pytest.raises(BrokerError, match="layout 3"):
        broker.open()


def test_ids_go_on_after_the_clock_of_the_earlier_layout(broker, redis_server, prefix):
    """The new clock begins after the old one."""
    ahead = int(time.time() * 1000) + 5000
    redis_server.client().hset(f"{prefix}clock", mapping={"last": f"{ahead}-7", "created": "1-0"})
    [id] = emit(broker, "a")

    assert id > Position(ahead, 7)
    assert not redis_server.client().exists(f"{prefix}clock")


def test_open_broker_opens_it(redis_server, prefix):
    """`open_broker` passes all settings on."""
    broker = open_broker(redis_server.url, prefix=prefix, history=5, history_ttl=9, silence_ttl=7)

    assert isinstance(broker, RedisBroker)
    assert broker._spans == (9000, 9000, 100)
    broker.close()


def test_what_came_before_a_connection_broke_is_read(broker, redis_server):
    """Redis sends transient events only once, so those that have arrived count."""
    feed = broker.open()
    feed.subscribe(channels("a"))
    wait_until(lambda: feed.read(0.1))
    for text in ("1", "2"):
        broker.publish("a", encode(text), persist=False)
    redis_server.kill_pubsub()
    received: list[Any] = []

    with pytest.raises(BrokerError):
        while True:
            received += feed.read(1)
    assert [item.message.value for item in received] == [1, 2]
    with pytest.raises(BrokerError):
        feed.read(0)
    feed.close()
