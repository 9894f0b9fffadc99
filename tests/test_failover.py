"""A replica that lacks the last events becomes the master: who missed any is told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from flask_redis_events import Emitter, endings
from flask_redis_events.broker import Outgoing, open_broker
from flask_redis_events.broker.redis import RedisBroker
from flask_redis_events.clients import Finite, Owner, Subscription
from flask_redis_events.endings import Ending
from flask_redis_events.exceptions import BrokerError
from flask_redis_events.hub import Hub
from flask_redis_events.settings import Settings
from flask_redis_events.wire import Position
from flask_redis_events.wire.run import begun
from flask_redis_events.wire.sse import encode
from tests.support.factories import channels, sent, went_live
from tests.support.relay import Relay
from tests.support.servers import RedisServer
from tests.support.travel import TravellingRedis
from tests.support.waiting import wait_until

FORKED = b'event: reset\ndata: {"reason":"forked"}'


class Pair:
    """A master and its replica behind a relay, as behind a name that Sentinel resolves."""

    def __init__(self, master: RedisServer, replica: RedisServer, relay: Relay) -> None:
        self.master = master
        self.replica = replica
        self.relay = relay
        self.hubs: list[Hub] = []
        # By default a master waits for further replicas before it sends its data.
        master.client().config_set("repl-diskless-sync-delay", 0)
        replica.client().replicaof("127.0.0.1", str(master.port))
        wait_until(lambda: replica.client().info("replication")["master_link_status"] == "up", 20)

    def hub(self) -> Hub:
        """Return a new worker."""
        settings = Settings(url=self.relay.url)
        broker = open_broker(self.relay.url, prefix="events:", history=100, history_ttl=300)
        self.hubs.append(Hub(settings, broker, None))
        return self.hubs[-1]

    def emit(self, server: RedisServer, channel: str, text: str) -> Position:
        """Emit by another process."""
        broker = RedisBroker(server.url, prefix="events:", history=100, history_ttl=300)
        id = broker.publish(channel, encode(text))
        broker.close()
        assert id is not None
        return id

    def isolate(self) -> None:
        """Let nothing more come to the replica."""
        assert self.master.client().wait(1, 5000) == 1
        self.replica.client().replicaof("NO", "ONE")

    def fail_over(self) -> None:
        """Lead everybody to the replica."""
        self.relay.lead_to(self.replica.port)

    @contextmanager
    def away(self, hub: Hub) -> Iterator[None]:
        """Keep a worker disconnected inside the block."""
        connect, hub.broker.open = hub.broker.open, self._refuse  # type: ignore[method-assign]
        assert hub._reader.feed
        hub._reader.feed.close()
        wait_until(lambda: not hub.connected)
        try:
            yield
        finally:
            hub.broker.open = connect  # type: ignore[method-assign]
        wait_until(lambda: hub.connected, 10)

    def _refuse(self):
        raise ConnectionError("Away, for a test.")


@pytest.fixture
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    (tmp_path / "replica").mkdir()
    master = request.getfixturevalue(getattr(request, "param", "own_redis_server"))
    with RedisServer(tmp_path / "replica") as replica, Relay(master.port) as relay:
        pair = Pair(master, replica, relay)
        yield pair
        for hub in pair.hubs:
            hub.close()
            hub.broker.close()


def join(hub: Hub, *names: str) -> Subscription:
    subscription = Subscription(channels(*names), held=True)
    hub.listen(subscription)
    assert went_live(subscription)
    subscription.start(subscription.floor)
    return subscription


def take(client: Subscription, text: str, timeout: float = 10) -> bytes:
    """Return what a client is sent, up to a text."""
    deadline = time.monotonic() + timeout
    frames = b""
    while text.encode() not in frames:
        assert time.monotonic() < deadline, frames
        frames += sent(client.take(0.1))
    return frames


@pytest.mark.parametrize("busy", ["", "a", "b"], ids=["silent", "busy", "others are busy"])
@pytest.mark.parametrize("before", [False, True], ids=["first", "second"])
def test_the_loss_of_a_sparse_channels_event_is_told(pair, before, busy):
    """A lost event is noticed, whether or not its channel has other events before and after."""
    ahead = pair.hub()
    client = join(ahead, "a")
    cursor = ahead.broker.replay([]).clock
    if before:
        pair.emit(pair.master, "a", "old")
    pair.isolate()
    pair.emit(pair.master, "a", "lost")
    take(client, "lost")
    with pair.away(ahead):
        pair.fail_over()
        if busy:
            pair.emit(pair.replica, busy, "new")
    wait_until(lambda: ahead.metrics["forked"] == 1)
    pair.emit(pair.replica, "a", "last")

    # The client has had everything; whoever comes later misses an event.
    assert FORKED not in take(client, "last")
    snapshot = ahead.broker.replay(channels("a"), after=cursor)
    assert snapshot.reason == "forked"
    assert ahead.broker.replay(channels("a"), after=snapshot.clock).reason is None


def test_nothing_is_told_if_nothing_was_lost(pair):
    """After a failover to a complete replica no client is reset."""
    hub = pair.hub()
    client = join(hub, "a", "b*")
    cursor = pair.emit(pair.master, "a", "one")
    take(client, "one")
    pair.isolate()
    with pair.away(hub):
        pair.fail_over()
        pair.emit(pair.replica, "b1", "two")
    pair.emit(pair.replica, "a", "three")

    assert b"reset" not in take(client, "three")
    assert hub.broker.replay(channels("a", "b*"), after=cursor).reason is None
    assert hub.metrics["forked"] == 0


def test_of_several_forks_the_latest_counts(pair):
    """Workers that had come less far do not take the mark of another back."""
    ahead, behind = pair.hub(), pair.hub()
    first, second = join(ahead, "a"), join(behind, "a")
    pair.isolate()
    pair.emit(pair.master, "a", "one")
    take(first, "one")
    take(second, "one")
    with pair.away(behind):
        lost = pair.emit(pair.master, "a", "two")
        take(first, "two")
        between = Position(lost.ms, lost.seq - 1) if lost.seq else Position(lost.ms - 1)
        pair.fail_over()
        wait_until(lambda: ahead.metrics["forked"] == 1, 10)
    pair.emit(pair.replica, "a", "three")

    assert take(second, "three").count(FORKED) == 1
    assert FORKED not in take(first, "three")
    assert ahead.broker.replay(channels("a"), after=between).reason == "forked"
    broker = ahead.broker
    mark = broker.note_fork(Position(lost.ms + 10**6), overtaken=False)
    assert broker.note_fork(lost, overtaken=False) == mark
    assert pair.emit(pair.replica, "a", "four") > mark


class Asked(Owner):
    """A stream of an identity, which notes with what it was dismissed."""

    def __init__(self, identity: str | None) -> None:
        self.about = SimpleNamespace(
            channels=("a",), label="", identity=identity, whose=None, asked_at=0.0
        )
        self.endings: list[Ending] = []

    def dismiss(self, ending: Ending) -> bool:
        self.endings.append(ending)
        return True


def test_a_run_of_which_nobody_is_left_but_a_viewer_is_ended(pair):
    """The failover lost it from its begin on, and its producer was killed before it wrote again."""
    hub = pair.hub()
    viewer = Finite(channels("run"), held=True)
    hub.listen(viewer)
    assert went_live(viewer)
    viewer.start(viewer.floor)
    pair.emit(pair.master, "run", "queued")
    pair.isolate()
    producer = RedisBroker(pair.master.url, prefix="events:", history=100, history_ttl=300)
    producer.runs.begin("run", "producer", ttl=60, lease=60)
    piece = Outgoing("run", begun(encode("piece")))
    producer.runs.write("run", "producer", 1, [piece], ttl=60, lease=60)
    producer.close()
    before = take(viewer, "piece")
    pair.fail_over()
    hub._reader.reconnect()
    wait_until(lambda: hub.metrics["forked"] == 1)
    hub.broker.runs.sweep(*hub._reader.viewed_runs())

    assert b"reset" not in before
    assert b'event: end\ndata: {"state":"lost"}' in take(viewer, "lost")
    assert viewer.closed is endings.ENDED
    assert hub.broker.runs.look("run").state == "lost"


def test_a_request_to_disconnect_that_may_be_lost_asks_again(pair):
    """A failover loses the request before one worker has it: the views of that worker decide."""
    ahead, behind = pair.hub(), pair.hub()
    streams = {hub: [Asked("ada"), Asked("eve"), Asked(None)] for hub in (ahead, behind)}
    for hub, opened in streams.items():
        join(hub, "a")
        for stream in opened:
            hub.open(stream)
    pair.isolate()
    with pair.away(behind):
        emitter = Emitter(pair.master.url)
        emitter.disconnect(identity="eve")
        emitter.close()
        wait_until(lambda: streams[ahead][1].endings)
        pair.fail_over()
        wait_until(lambda: ahead.metrics["forked"] == 1, 10)
    wait_until(lambda: streams[behind][1].endings, 10)
    got = {hub: [stream.endings for stream in opened] for hub, opened in streams.items()}
    for hub, opened in streams.items():
        for stream in opened:
            hub.leave(stream)

    assert got[ahead] == [[], [endings.DISCONNECTED], []]
    assert got[behind] == [[endings.ASKED_AGAIN], [endings.ASKED_AGAIN], []]


@pytest.mark.parametrize("pair", ["travelling_redis"], indirect=True)
@pytest.mark.parametrize("busy", [False, True], ids=["silent", "busy"])
def test_a_master_whose_clock_was_ahead(pair, busy):
    """If the new master gives out ids that are not after those of the old one, all are reset."""
    assert isinstance(pair.master, TravellingRedis)
    pair.master.travel(4)
    hub = pair.hub()
    client = join(hub, "a")
    pair.emit(pair.master, "a", "one")
    take(client, "one")
    pair.isolate()
    lost = pair.emit(pair.master, "a", "lost")
    take(client, "lost")
    with pair.away(hub):
        pair.fail_over()
        if busy:
            assert pair.emit(pair.replica, "a", "unseen") < lost
    # What is emitted before the worker has moved the clock is followed by its reset.
    wait_until(lambda: hub.metrics["forked"] == 1, 10)
    last = pair.emit(pair.replica, "a", "last")
    frames = take(client, "last")

    assert last > lost
    assert frames.count(FORKED) == (1 if busy else 0)
    # Another worker judges a client of this one alike.
    reason = pair.hub().broker.replay(channels("a"), after=lost).reason
    assert reason == ("forked" if busy else None)


@pytest.mark.parametrize("pair", ["travelling_redis"], indirect=True)
def test_a_busy_channel_hides_no_event_before_the_fork(pair, monkeypatch):
    """An event below a client's position is noticed, though its channel has gone on since."""
    pair.master.travel(4)
    hub = pair.hub()
    client = join(hub, "a")
    pair.emit(pair.master, "a", "one")
    take(client, "one")
    pair.isolate()
    lost = pair.emit(pair.master, "a", "lost")
    take(client, "lost")
    note_fork = hub.broker.note_fork

    def note_and_go_on(*args, **kwargs):
        mark = note_fork(*args, **kwargs)
        pair.emit(pair.replica, "a", "next")
        return mark

    with pair.away(hub):
        pair.fail_over()
        assert pair.emit(pair.replica, "a", "unseen") < lost
        monkeypatch.setattr(hub.broker, "note_fork", note_and_go_on)

    assert FORKED in take(client, "next")


@pytest.mark.parametrize("pair", ["travelling_redis"], indirect=True)
def test_an_id_may_be_given_out_twice(pair):
    """If ids ran ahead of both clocks, the new master gives out the very ids of lost events."""
    pair.master.travel(4)
    hub = pair.hub()
    client = join(hub, "a")
    pair.emit(pair.master, "a", "one")
    take(client, "one")
    pair.master.travel(-4)
    pair.isolate()
    lost = pair.emit(pair.master, "a", "lost")
    take(client, "lost")
    with pair.away(hub):
        pair.fail_over()
        assert pair.emit(pair.replica, "a", "unseen") == lost
        pair.emit(pair.replica, "a", "next")
    pair.emit(pair.replica, "a", "last")

    assert FORKED in take(client, "last")


def test_data_that_were_replaced_are_told(pair):
    """If other data are there, a position proves nothing, even if their clock is behind."""
    hub = pair.hub()
    client = join(hub, "a")
    pair.emit(pair.master, "a", "one")
    take(client, "one")
    with pair.away(hub):
        keys = list(pair.master.client().scan_iter("events:*"))
        pair.emit(pair.master, "a", "never seen")
        pair.master.client().delete(*keys)
        pair.master.client().hset("events:meta", mapping={"layout": "2", "created": "5-0"})
        pair.master.client().xadd("events:ids", {"": ""}, id="6-0")
        pair.emit(pair.master, "b", "makes the index")
    pair.emit(pair.master, "a", "two")

    assert b"event: reset" in take(client, "two")


def test_whoever_comes_back_before_a_fork_is_noted_is_told(pair):
    """Of two workers the one without the lost event reconnects first, and cannot know of it."""
    ahead, behind = pair.hub(), pair.hub()
    one, other = join(ahead, "a"), join(behind, "a")
    pair.emit(pair.master, "a", "one")
    take(one, "one")
    take(other, "one")
    pair.isolate()
    with ExitStack() as later:
        with pair.away(behind):
            pair.emit(pair.master, "a", "lost")
            take(one, "lost")
            later.enter_context(pair.away(ahead))
            pair.fail_over()
        back = join(behind, "a")
        cursor = pair.emit(pair.replica, "a", "two")
        take(back, "two")

    assert FORKED in take(back, "forked")
    assert behind.broker.replay(channels("a"), after=cursor).reason == "forked"


def test_a_master_that_was_cut_off_takes_messages_until_it_is_a_replica(pair, monkeypatch):
    """A worker that stays connected to it has them alone, and finds out by the next message."""
    cut_off = open_broker(pair.master.url, prefix="events:", history=100, history_ttl=300)
    ahead, behind = pair.hub(), pair.hub()
    with monkeypatch.context() as patch:
        patch.setattr(ahead.broker, "open", cut_off.open)
        one, other = join(ahead, "a"), join(behind, "a")
        pair.emit(pair.master, "a", "one")
        take(one, "one")
        take(other, "one")
        pair.isolate()
        with pair.away(behind):
            pair.fail_over()
            pair.emit(pair.master, "a", "lost")
            take(one, "lost")
    pair.emit(pair.replica, "b", "another channel")
    # It passes on what it is sent, and so goes on for the worker.
    pair.master.client().replicaof("127.0.0.1", str(pair.replica.port))
    wait_until(lambda: pair.master.client().info("replication")["master_link_status"] == "up", 20)
    pair.emit(pair.replica, "a", "next")

    assert FORKED not in take(one, "next")
    # The worker of the other client may have its own `next` before it knows.
    assert FORKED in take(other, "forked")
    cut_off.close()


@pytest.mark.parametrize("under_way", [False, True], ids=["idle", "under way"])
def test_history_is_read_where_the_feed_leads(pair, monkeypatch, under_way):
    """A connection from before may lead to a master that was cut off and lacks what came since.

    Its ids are as late as those of the new master, so a client that begins after it would miss
    those events.  A reading that it answers while a feed is opened begins anew.
    """
    broker = pair.hub().broker
    cursor = broker.publish("a", encode("one"))
    pair.isolate()

    since: list[Position] = []

    def fail_over() -> None:
        pair.relay.lead_new_ones_to(pair.replica.port)
        since.append(pair.emit(pair.replica, "a", "two"))
        broker.publish("b", encode("lost"))
        broker.open().close()

    with monkeypatch.context() as patch:
        run = broker._run

        def read(*given):
            reply = run(*given)
            patch.undo()
            fail_over()
            return reply

        if under_way:
            patch.setattr(broker, "_run", read)
        else:
            fail_over()
        found = broker.replay(channels("a"), after=cursor)

    assert [message.id for message in found.messages] == since


@pytest.mark.parametrize("pair", ["travelling_redis"], indirect=True)
def test_a_worker_moves_a_clock_on_that_was_set_back_and_forgotten(pair):
    """Redis refuses ids before those that it has, until a worker shows how far they had come.

    Redis evicts all that it knows of its clock: `ids`, `meta` and the index.  The worker reconnects
    as soon as its tick does not come back.
    """
    pair.master.travel(60)
    hub = pair.hub()
    client = join(hub, "a")
    before = pair.emit(pair.master, "a", "one")
    take(client, "one")
    with pair.away(hub):
        pair.master.travel(-60)
        pair.master.client().delete("events:ids", "events:meta", "events:channels")
        with pytest.raises(BrokerError, match="equal or smaller"):
            pair.emit(pair.master, "a", "refused")

    def emit() -> Position | None:
        with suppress(BrokerError):
            return pair.emit(pair.master, "a", "two")
        return None

    # The worker is connected before it has read what Redis has.
    assert wait_until(emit) > before
    assert b"event: reset" in take(client, "two")
