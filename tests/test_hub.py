"""The hub, the reader and the ticker on a real Redis, in this process: threads or greenlets."""

from __future__ import annotations

import gc
import itertools
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType, FunctionType, ModuleType, SimpleNamespace
from typing import Any

import gevent
import pytest
from flask import Flask

from flask_redis_events import RedisEvents, endings, signals
from flask_redis_events.broker import open_broker
from flask_redis_events.channels import TICKS, Channel
from flask_redis_events.clients import Owner, Registry, Subscription
from flask_redis_events.concurrency import let_others_run, spawn
from flask_redis_events.exceptions import BrokerError
from flask_redis_events.hub import Hub
from flask_redis_events.reader.probe import TICK
from flask_redis_events.settings import Settings
from flask_redis_events.wire.sse import Decoder, Event, encode
from tests.support.factories import channels, sent, went_live
from tests.support.servers import RedisServer
from tests.support.waiting import wait_until


def make_hub(server: RedisServer, prefix: str = "events:", **settings) -> Hub:
    chosen = Settings(url=server.url, prefix=prefix, **settings)
    broker = open_broker(
        chosen.url, prefix=prefix, history=chosen.history, history_ttl=chosen.history_ttl
    )
    return Hub(chosen, broker, None)


@pytest.fixture
def hub(redis_server, prefix):
    hub = make_hub(redis_server, prefix)
    yield hub
    hub.close()
    hub.broker.close()


@pytest.fixture
def own_hub(own_redis_server):
    hub = make_hub(own_redis_server)
    yield hub
    hub.close()
    hub.broker.close()


def join(hub: Hub, *names: str, numbered: bool = True) -> Subscription:
    """Subscribe, and return when Redis has acknowledged all channels."""
    subscription = Subscription(channels(*names), held=True, numbered=numbered)
    hub.listen(subscription)
    assert went_live(subscription)
    subscription.start(subscription.floor)
    return subscription


def emit(hub: Hub, channel: str, text: object):
    return hub.broker.publish(channel, encode(str(text)))


def take(subscription: Subscription, count: int, timeout: float = 5) -> list[object]:
    """Return the values of the next `count` messages."""
    got: list[object] = []
    deadline = time.monotonic() + timeout
    while len(got) < count and time.monotonic() < deadline:
        for batch in subscription.take(0.1):
            got += [message.value for message in batch.messages]
    return got


def test_a_hub_starts_nothing_until_somebody_comes(redis_server, prefix):
    """A new hub starts nothing until its first stream."""
    before = threading.active_count()
    hub = make_hub(redis_server, prefix)

    assert threading.active_count() == before
    assert (hub.pid, hub.connected, hub.streams) == (os.getpid(), False, 0)


def test_it_reads_what_is_ready_at_once(hub):
    """A burst reaches each client in order and in few batches."""
    one, two = join(hub, "a", "b"), join(hub, "a")
    for number in range(500):
        emit(hub, "ab"[number % 2], number)

    assert take(one, 500) == list(range(500))
    assert take(two, 250) == list(range(0, 500, 2))


def test_the_position_follows(hub):
    """The position is known after the first connection, and moves with each message."""
    subscription = join(hub, "a")
    first = hub.position
    id = emit(hub, "a", 1)
    take(subscription, 1)

    assert first < id
    assert hub.position == id


def test_killed_connections_are_repaired_in_silence(own_hub, own_redis_server):
    """After a cut connection, missed messages are read from history: all, once and in order."""
    subscription = join(own_hub, "a", "b*")
    for number in range(300):
        emit(own_hub, ("a", "b1", "b2")[number % 3], number)
        if number % 50 == 25:
            own_redis_server.kill_pubsub()

    assert take(subscription, 300, 20) == list(range(300))
    assert own_hub.metrics["connected"] > 1
    assert own_hub.metrics["refilled.reconnect"] >= 1


@pytest.mark.redis(appendonly=True)
def test_a_restart_of_redis_is_survived(own_hub, own_redis_server):
    """Streams stay open while Redis restarts with its data, and lose nothing."""
    subscription = join(own_hub, "a")
    emit(own_hub, "a", 0)
    assert take(subscription, 1) == [0]
    own_redis_server.restart()
    emit(own_hub, "a", 1)

    assert take(subscription, 1, 10) == [1]
    assert subscription.closed is None


@pytest.mark.parametrize("numbered", [True, False])
def test_a_restart_without_data_is_a_reset(own_hub, own_redis_server, numbered):
    """After a restart without data, each client is sent one `reset`, whether it has ids or not."""
    subscription = join(own_hub, "a", numbered=numbered)
    emit(own_hub, "a", 0)
    take(subscription, 1)
    own_redis_server.restart()
    wait_until(lambda: own_hub.metrics["reset.flushed"] == 1, 10)

    assert b"event: reset\n" in sent(subscription.take(1))
    emit(own_hub, "a", 1)
    assert take(subscription, 1) == [1]


@pytest.mark.parametrize("ticks", [False, True], ids=["silence", "a tick first"])
def test_a_flush_is_told_in_silence(own_hub, own_redis_server, monkeypatch, ticks):
    """A worker learns of it when it renews its lease, although nothing is emitted."""
    monkeypatch.setattr("flask_redis_events.workers.worker.RENEWAL", 0.5)
    subscription = join(own_hub, "a")
    own_hub.worker.start()
    emit(own_hub, "a", 0)
    take(subscription, 1)
    wait_until(own_hub.broker.people.leases)
    own_redis_server.client().flushall()
    if ticks:
        own_hub.broker.publish(TICKS, TICK, persist=False)
    wait_until(lambda: own_hub.metrics["reset.flushed"] + own_hub.metrics["reset.forked"] == 1)

    assert b"event: reset\n" in sent(subscription.take(1))
    emit(own_hub, "a", 1)
    assert take(subscription, 1) == [1]


def run_ahead(server: RedisServer) -> None:
    """Let ids run a minute ahead of the time, as after Redis' clock was set back."""
    server.client().xadd("events:ids", {"": ""}, id=f"{time.time_ns() // 10**6 + 60_000}-0")


def test_a_lost_clock_carries_no_position_past_the_new_one(own_hub, own_redis_server, monkeypatch):
    """A message of the lost clock is still under way, and later than all that the new one gives."""
    client = own_redis_server.client()
    subscription = join(own_hub, "a")
    emit(own_hub, "a", 0)
    assert take(subscription, 1) == [0]
    replay, replayed = own_hub.broker.replay, threading.Event()

    def lose_the_clock(*args, **kwargs):
        if replayed.is_set():
            return replay(*args, **kwargs)
        emit(own_hub, "a", "under way")
        client.flushall()
        snapshot = replay(*args, **kwargs)
        emit(own_hub, "a", 2)
        replayed.set()
        return snapshot

    monkeypatch.setattr(own_hub.broker, "replay", lose_the_clock)
    # The next message seems to follow one that never came.
    client.set("events:last:a", f"{own_hub.position.ms}-999")
    run_ahead(own_redis_server)
    emit(own_hub, "a", 1)
    assert replayed.wait(10)
    emit(own_hub, "a", 3)

    assert take(subscription, 2) == [2, 3]
    assert own_hub.metrics["reset.flushed"] == 1


@pytest.mark.parametrize("shown_by", ["a message", "a tick", "a connection"])
def test_ids_that_are_given_out_again_are_told(own_redis_server, monkeypatch, shown_by):
    """Redis evicts all that it knows of its clock, whose ids were ahead when a worker connected."""
    silence = 0.5 if shown_by == "a tick" else 60
    monkeypatch.setattr("flask_redis_events.reader.probe.SILENCE", silence)
    hub = make_hub(own_redis_server)
    client = own_redis_server.client()
    subscription = join(hub, "a", "b")
    run_ahead(own_redis_server)
    hub._reader.reconnect()
    wait_until(lambda: hub.metrics["connected"] == 2 and hub.metrics["refilled.reconnect"] == 1)
    if shown_by == "a message":
        emit(hub, "a", 0)
        assert take(subscription, 1) == [0]
    client.delete("events:ids", "events:meta", "events:channels")
    emit(hub, "b", 1)
    if shown_by == "a connection":
        # The time has caught up with the ids.
        run_ahead(own_redis_server)
        hub._reader.reconnect()

    wait_until(lambda: b"event: reset" in sent(subscription.take(0.1)), 10)
    emit(hub, "b", 2)
    assert take(subscription, 1) == [2]
    hub.close()
    hub.broker.close()


def test_who_joins_while_redis_is_away_waits(own_redis_server):
    """A client that joins while Redis is away goes live when Redis is back."""
    own_redis_server.stop()
    hub = make_hub(own_redis_server)
    subscription = Subscription(channels("a"), held=True)
    hub.listen(subscription)

    assert not went_live(subscription, 0.3)
    own_redis_server.start()
    assert went_live(subscription, 10)
    subscription.start(subscription.floor)
    emit(hub, "a", 1)
    assert take(subscription, 1) == [1]
    hub.close()
    hub.broker.close()


def test_a_mute_connection_is_noticed(own_redis_server, monkeypatch):
    """The reader reconnects if a published tick does not arrive."""
    monkeypatch.setattr("flask_redis_events.reader.probe.SILENCE", 0.4)
    monkeypatch.setattr("flask_redis_events.reader.probe.ANSWER", 0.4)
    hub = make_hub(own_redis_server)
    subscription = join(hub, "a")
    client = own_redis_server.client()
    (reader,) = client.client_list(_type="pubsub")
    # The server drops the subscriptions silently, as on a connection that is only half open.
    hub._reader.feed._write("UNSUBSCRIBE")
    wait_until(lambda: client.pubsub_numsub("events:a")[0][1] == 0)
    wait_until(lambda: hub.metrics["mute"] >= 1, 10)
    wait_until(lambda: client.pubsub_numsub("events:a")[0][1] == 1, 10)
    emit(hub, "a", 1)

    assert take(subscription, 1) == [1]
    assert [c["id"] for c in client.client_list(_type="pubsub")] != [reader["id"]]
    hub.close()
    hub.broker.close()


def test_ticks_keep_the_position_young(own_redis_server, monkeypatch):
    """Ticks move the position of a worker that receives no messages."""
    monkeypatch.setattr("flask_redis_events.reader.probe.SILENCE", 0.2)
    hub = make_hub(own_redis_server)
    subscription = join(hub, "a*", "*")
    first = hub.position
    wait_until(lambda: hub.position > first, 5)

    assert subscription.take(0) == []
    hub.close()
    hub.broker.close()


def test_without_history_a_ping_does(own_redis_server, monkeypatch):
    """Without history there are no ticks, so PING tests the connection."""
    monkeypatch.setattr("flask_redis_events.reader.probe.SILENCE", 0.2)
    hub = make_hub(own_redis_server, history=0)
    subscription = join(hub, "a")
    heard = hub._reader._received_at
    wait_until(lambda: hub._reader._received_at > heard + 0.3, 5)
    hub.broker.publish("a", encode("1"))

    assert take(subscription, 1) == [1]
    assert (hub.metrics["mute"], hub.metrics["connected"]) == (0, 1)
    hub.close()
    hub.broker.close()


def test_a_flood_starves_nobody(hub):
    """While one channel is flooded, another greenlet or thread still gets its turns."""
    subscription = Subscription(channels("flood"), limit=10**8)
    hub.listen(subscription)
    assert went_live(subscription)
    turns = 0
    done = threading.Event()

    def turn():
        nonlocal turns
        while not done.is_set():
            time.sleep(0.001)
            turns += 1

    thread = threading.Thread(target=turn)
    thread.start()
    for number in range(3000):
        emit(hub, "flood", number)
    assert len(take(subscription, 3000, 20)) == 3000
    done.set()
    thread.join()

    assert turns > 20


@contextmanager
def away(hub: Hub) -> Iterator[None]:
    """Keep a hub disconnected from Redis inside the block."""

    def refuse() -> None:
        raise BrokerError("Away, for a test.")

    broker: Any = hub.broker
    broker.open = refuse
    assert hub._reader.feed
    hub._reader.feed.close()
    wait_until(lambda: not hub.connected)
    try:
        yield
    finally:
        del broker.open
    wait_until(lambda: hub.connected, 10)


def lag_behind(server: RedisServer, *lost) -> None:
    """Delete messages, as if a replica that had not received them had become the master."""
    client = server.client()
    for id in lost:
        client.xdel("events:history:a", str(id))
    newest: Any = client.xrevrange("events:history:a", count=1)
    client.set("events:last:a", newest[0][0], keepttl=True)


def test_a_fork_is_told_to_those_who_missed_something(own_redis_server):
    """After a failover that lost messages, only clients that had not received them are reset."""
    ahead, behind = make_hub(own_redis_server), make_hub(own_redis_server)
    one, two = join(ahead, "a"), join(behind, "a")
    first = emit(ahead, "a", 1)
    for subscription in (one, two):
        assert take(subscription, 1) == [1]
    with away(behind):
        lost = [emit(ahead, "a", number) for number in (2, 3)]
        assert take(one, 2) == [2, 3]
        with away(ahead):
            lag_behind(own_redis_server, *lost)
            emit(ahead, "a", 4)
        assert take(one, 1, 10) == [4]
        assert ahead.metrics["forked"] == 1
    frames = b""
    while b'"forked"' not in frames or b"data: 4" not in frames:
        frames += sent(two.take(5))

    assert frames.count(b'event: reset\ndata: {"reason":"forked"}') == 1
    assert one.take(0) == []
    # A client that reconnects with an id from before the fork is reset; with a later id it is not.
    snapshot = ahead.broker.replay(channels("a"), after=first)
    assert snapshot.reason == "forked"
    assert ahead.broker.replay(channels("a"), after=snapshot.clock).reason is None
    for hub in (ahead, behind):
        hub.close()
        hub.broker.close()


def test_a_stream_without_ids_is_told_of_a_loss(redis_server, prefix):
    """Its page gets `reset` for events that its worker could not receive while it was open."""
    app = Flask(__name__)
    app.config.update(REDIS_EVENTS_URL=redis_server.url, REDIS_EVENTS_PREFIX=prefix)
    events = RedisEvents(app)

    @app.get("/stream")
    @events.stream("a", history=False)
    def stream() -> None:
        """Stream channel a."""

    with app.app_context():
        hub = events.hub
        emit(hub, "a", 1)
        response = app.test_client().get("/stream", buffered=False)
        decoder, chunks = Decoder(), response.iter_encoded()
        assert decoder.feed(next(chunks))[0].event == "ready"
        with away(hub):
            emit(hub, "a", 2)
            redis_server.client().delete(f"{prefix}history:a")
        emit(hub, "a", 3)
        got: list[Event] = []
        while not got or got[-1].data != "3":
            got += [one for one in decoder.feed(next(chunks)) if one.event != "heartbeat"]

        assert [(one.event, one.last_event_id) for one in got] == [("reset", ""), ("message", "")]
        response.close()
        hub.close()
        hub.broker.close()


@contextmanager
def churn(hub: Hub) -> Iterator[None]:
    """Let clients of channels that nobody else hears come and go inside the block."""
    over = threading.Event()

    def come_and_go(number: int) -> None:
        for turn in itertools.count():
            client = Subscription(channels(f"brief:{number}:{turn}"))
            hub.listen(client)
            let_others_run()
            hub.unlisten(client)
            if over.is_set():
                return

    threads = [spawn("test", partial(come_and_go, number)) for number in range(2)]
    yield
    over.set()
    for thread in threads:
        thread.join(10)


def test_channels_come_and_go_while_the_reader_reconnects(
    own_hub, own_redis_server, monkeypatch, caplog
):
    """The registry is listed under the lock, so that no channel joins or leaves in its midst."""

    def listing(registry: Registry) -> list[Channel]:
        found = []
        for number, channel in enumerate(registry._listening):
            found.append(channel)
            if number % 100 == 0:
                time.sleep(0.001)  # Others run.
        return found

    monkeypatch.setattr(Registry, "channels", property(listing))
    names = [f"lasting:{number}" for number in range(2000)]
    client = join(own_hub, *names)
    with churn(own_hub):
        for number in range(3):
            own_redis_server.kill_pubsub()
            emit(own_hub, names[number], number)
            assert take(client, 1, 10) == [number]

    assert own_hub.metrics["refilled.reconnect"] >= 3
    assert "The reader failed" not in caplog.text


def test_nothing_is_kept_of_channels_that_were_left(own_hub, own_redis_server):
    """After 10,000 channels that were subscribed and left, no part of a worker knows a name."""
    stays = join(own_hub, "stays")
    for number in range(0, 10_000, 500):
        clients = [Subscription(channels(f"left:{number + one}")) for one in range(500)]
        for client in clients:
            own_hub.listen(client)
        assert all(map(went_live, clients))
        for client in clients:
            own_hub.unlisten(client)
    del clients, client
    redis = own_redis_server.client()
    wait_until(lambda: not redis.pubsub_channels("events:left:*"), 10)
    emit(own_hub, "stays", 1)
    assert take(stays, 1) == [1]

    assert names_below(own_hub, "stays")
    assert names_below(own_hub, "left:") == set()


def names_below(root: object, text: str) -> set[str]:
    """Return the texts with `text` in them that an object leads to, whatever holds them."""
    seen: dict[int, object] = {}
    found: set[str] = set()
    waiting = [root]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, (type, ModuleType, FunctionType, FrameType)):
            continue
        seen[id(one)] = one
        if isinstance(one, (str, bytes)):
            word = one if isinstance(one, str) else one.decode("latin-1")
            found |= {word} if text in word else set()
        waiting += gc.get_referents(one)
    return found


def test_a_restart_with_all_data_is_no_fork(own_redis_server):
    """Reconnecting to a complete history resets no client."""
    hub = make_hub(own_redis_server)
    subscription = join(hub, "a")
    for number in range(3):
        emit(hub, "a", number)
    own_redis_server.kill_pubsub()
    emit(hub, "a", 3)

    assert take(subscription, 4, 10) == [0, 1, 2, 3]
    assert hub.metrics["forked"] == 0
    hub.close()
    hub.broker.close()


class Stream(Owner):
    """Owns a client that is counted as somebody's."""

    def __init__(self, whose: object) -> None:
        self.about = SimpleNamespace(
            channels=(), label="", identity=None, whose=whose, asked_at=0.0
        )


def test_clients_that_have_left_are_not_counted(redis_server, prefix):
    """Opening is exact, leaving is idempotent, and nothing of thousands of clients remains."""
    hub = make_hub(redis_server, prefix, max_streams_per_client=1)
    for number in range(5000):
        stream, second = Stream(number), Stream(number)

        assert hub.open(stream)
        assert (hub.refusal(number), hub.open(second)) == (endings.TOO_MANY, False)
        hub.leave(second)
        assert hub.refusal(number) is endings.TOO_MANY
        hub.leave(stream)
        hub.leave(stream)
        assert hub.refusal(number) is None
    assert hub.metrics["refused.too many"] == 5000
    assert not hub._streams_of
    hub.close()
    hub.broker.close()


class Dropping(Owner):
    """Owns a client whose backlog drops messages."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def dropped(self, count: int) -> None:
        self._hub.reports.dropped(count)


def test_a_receiver_that_raises_costs_nobody_anything(hub, caplog):
    """What an application's signal receiver does wrong is logged."""
    slow, well = Subscription(channels("a"), overflow="drop", limit=10), join(hub, "a")
    slow.owner = Dropping(hub)
    hub.listen(slow)
    assert went_live(slow)

    def fail(sender: object, **what: object) -> None:
        raise RuntimeError("A receiver that fails.")

    with signals.stream_reset.connected_to(fail):
        for number in range(5):
            emit(hub, "a", number)
            assert take(well, 1) == [number]

    assert "A receiver of the signal redis-events-stream-reset failed." in caplog.text


def test_acknowledgements_are_no_position(redis_server, prefix):
    """Ticks move the position even if acknowledgements, which have no id, keep arriving."""
    hub = make_hub(redis_server, prefix, history_ttl=1.0)
    join(hub, "quiet")
    before = hub.position
    for number in range(12):
        hub.unlisten(join(hub, f"user:{number}"))
        time.sleep(0.1)

    assert hub.position > before
    hub.close()
    hub.broker.close()


def test_a_metrics_back_end_that_raises_costs_nobody_a_message(hub, caplog):
    """Clients are offered a message one after the other, and counting comes in between."""

    def fail(happening: object) -> None:
        raise RuntimeError("A back end that fails.")

    subscriptions = [join(hub, "a") for _ in range(3)]
    hub.reports.back_ends.insert(0, fail)
    for number in range(5):
        emit(hub, "a", number)

    assert [take(one, 5) for one in subscriptions] == [list(range(5))] * 3
    # The reader counts after it has offered.
    wait_until(lambda: "A metrics back end failed." in caplog.text)


def test_a_receiver_that_times_out_does_not_end_the_reader(hub):
    """gevent.Timeout is no Exception."""

    def time_out(sender: object, **what: object) -> None:
        raise gevent.Timeout(1)

    subscription = join(hub, "a")
    with signals.stream_reset.connected_to(time_out):
        hub.reports.reset("on purpose")
    emit(hub, "a", 1)

    assert take(subscription, 1) == [1]
