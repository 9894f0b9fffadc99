"""History is read once, however many come back together."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Collection, Iterator

import pytest

from flask_redis_events import endings, memory
from flask_redis_events.broker import open_broker
from flask_redis_events.broker.base import Received
from flask_redis_events.broker.coverage import Snapshot
from flask_redis_events.broker.limits import KEEP
from flask_redis_events.broker.memory import MemoryBroker, MemoryFeed
from flask_redis_events.channels import KICKS, Channel
from flask_redis_events.clients import Subscription
from flask_redis_events.concurrency import spawn
from flask_redis_events.exceptions import BrokerError, SubscriptionClosed
from flask_redis_events.hub import Hub
from flask_redis_events.reader import replays
from flask_redis_events.reader.reading import Reading
from flask_redis_events.reader.replays import AT_ONCE
from flask_redis_events.reader.tail import size_of
from flask_redis_events.settings import Settings
from flask_redis_events.wire import Message, Position
from flask_redis_events.wire.sse import encode
from tests.support.clock import Clock
from tests.support.factories import channels, message, went_live
from tests.support.waiting import wait_until


class CountingBroker(MemoryBroker):
    """Counts the replays of cursors, and can hold them up."""

    def __init__(self) -> None:
        super().__init__()
        self.replays = 0
        self.gate = threading.Event()
        self.gate.set()
        self.fail = False
        #: How many readings take place, and how many did so at once.
        self.reading = 0
        self.most = 0
        #: What is answered to a cursor that is older than this, in the place of history.
        self.too_much_before = Position(0)

    def replay(
        self,
        channels: Collection[Channel],
        *,
        after: Position | None = None,
        last: int = 0,
        limit: int = 0,
        max_bytes: int | None = None,
        witness: Message | None = None,
        state: bool = False,
    ) -> Snapshot:
        if after is not None or state:
            self.replays += 1
            self.reading += 1
            self.most = max(self.most, self.reading)
            self.gate.wait(5)
            self.reading -= 1
            if self.fail:
                raise BrokerError("On purpose.")
            if after is not None and after < self.too_much_before:
                clock = super().replay(()).clock
                return Snapshot(clock, [], {"": (clock, "too much")})
        return super().replay(channels, after=after, last=last, max_bytes=max_bytes, state=state)

    def emit(self, channel: str, text: str) -> Position:
        position = self.publish(channel, encode(text))
        assert position is not None
        return position


def make() -> tuple[CountingBroker, Hub]:
    broker = CountingBroker()
    return broker, Hub(Settings(url="memory://"), broker, None)


def listen(hub: Hub, *names: str) -> Subscription:
    subscription = Subscription(channels(*names), held=True)
    hub.listen(subscription)
    assert went_live(subscription)
    return subscription


def after(hub: Hub, inbox: Subscription, cursor: Position) -> Snapshot:
    remembered = hub.replays.from_memory(inbox.channels, cursor)
    return remembered or hub.replays.after(inbox, inbox.channels, cursor)


def values(snapshot: Snapshot) -> list[object]:
    return [message.value for message in snapshot.messages]


def test_what_was_heard_here_is_not_read():
    """A worker that was there all the time needs no history."""
    broker, hub = make()
    inbox = listen(hub, "a")
    cursor = broker.emit("a", "x")
    last = broker.emit("a", "y")
    wait_until(lambda: hub.position == last)

    assert values(after(hub, inbox, cursor)) == ["y"]
    assert broker.replays == 0
    hub.close()


def test_a_storm_reads_once():
    """A hundred clients with the same old position share one reading, the late ones too."""
    broker, hub = make()
    cursor = broker.emit("a", "x")
    broker.emit("a", "y")
    inboxes = [listen(hub, "a") for _ in range(100)]
    snapshots: list[Snapshot] = []
    broker.gate.clear()

    def replay(inbox: Subscription) -> None:
        snapshots.append(after(hub, inbox, cursor))

    threads = [spawn("test", functools.partial(replay, inbox)) for inbox in inboxes]
    wait_until(lambda: broker.replays >= 1)
    broker.gate.set()
    for thread in threads:
        thread.join(5)
    # Later ones begin later: they are given what came since from memory.
    late = broker.emit("a", "z")
    wait_until(lambda: hub.position == late)
    snapshots += [after(hub, listen(hub, "a"), cursor)]

    assert [values(snapshot) for snapshot in snapshots] == [["y"]] * 100 + [["y", "z"]]
    assert snapshots[-1].clock == late
    assert broker.replays == 1
    hub.close()


def test_a_storm_reads_the_state_a_few_times():
    """First connects that wait together share a reading; each gets the state of its own moment."""
    broker, hub = make()
    broker.publish("a", encode("x"), key="p", keep=KEEP)
    inboxes = [listen(hub, "a") for _ in range(100)]
    snapshots: list[Snapshot] = []
    broker.gate.clear()

    def replay(inbox: Subscription) -> None:
        snapshots.append(hub.replays.after(inbox, inbox.channels, None))

    threads = [spawn("test", functools.partial(replay, inbox)) for inbox in inboxes]
    wait_until(lambda: broker.reading == 2)
    broker.gate.set()
    for thread in threads:
        thread.join(5)
    assert [values(snapshot) for snapshot in snapshots] == [["x"]] * 100
    assert broker.replays <= 5
    broker.publish("a", encode("not kept"))
    broker.publish("a", encode("y"), key="p", keep=KEEP)

    late = hub.replays.after(listen(hub, "a"), inboxes[0].channels, None)
    assert values(late) == ["y"]
    hub.close()


def test_a_reading_from_before_the_subscription_is_not_shared():
    """What was emitted since then, while nobody here heard the channel, is in history only."""
    broker, hub = make()
    cursor = broker.emit("a", "x")
    broker.emit("a", "y")
    first = listen(hub, "a")
    assert values(after(hub, first, cursor)) == ["y"]
    hub.unlisten(first)
    broker.emit("a", "z")

    assert values(after(hub, listen(hub, "a"), cursor)) == ["y", "z"]
    hub.close()


def test_nor_with_one_who_need_not_wait_for_it():
    """The channel is acknowledged, but the worker has heard nothing since then."""
    broker, hub = make()
    cursor = broker.emit("a", "x")
    listen(hub, "other")
    first = listen(hub, "a")
    assert values(after(hub, first, cursor)) == []
    hub.unlisten(first)
    broker.emit("a", "y")
    listen(hub, "a")

    assert values(after(hub, listen(hub, "a"), cursor)) == ["y"]
    hub.close()


def test_a_reading_from_before_a_loss_is_not_shared():
    """It is of a clock, or of a master, that is no more."""
    broker, hub = make()
    cursor = broker.emit("a", "x")
    broker.emit("a", "y")
    after(hub, listen(hub, "a"), cursor)
    assert hub.position
    lost = {"": (hub.position, "forked")}
    hub._reader.sequence.refill(Snapshot(hub.position, [], lost))
    after(hub, listen(hub, "a"), cursor)

    assert broker.replays == 2
    hub.close()


def test_a_lost_cursor_is_read_once_for_all():
    """After a flush everybody comes back with a cursor that is not covered."""
    broker, hub = make()
    broker.emit("a", "x")
    inboxes = [listen(hub, "a") for _ in range(10)]
    snapshots = [after(hub, inbox, Position(1)) for inbox in inboxes]

    assert {snapshot.reason for snapshot in snapshots} == {"flushed"}
    assert broker.replays == 1
    hub.close()


def test_each_set_of_channels_is_read_for_itself():
    """What is shared is a reading of the same channels."""
    broker, hub = make()
    first, _ = broker.emit("a", "x"), broker.emit("b", "y")
    broker.emit("a", "z")

    assert values(after(hub, listen(hub, "a"), first)) == ["z"]
    assert values(after(hub, listen(hub, "a", "b"), first)) == ["y", "z"]
    assert broker.replays == 2
    hub.close()


# --- a storm of different positions -----------------------------------------------------------


class Storm:
    """Clients that come back together; each has a thread or greenlet that asks for its history."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.found: dict[Position, Snapshot] = {}
        self._threads: list[threading.Thread] = []

    def resume(self, cursor: Position, *names: str) -> Subscription:
        """Let a client ask, and return as soon as it waits for an answer."""
        inbox = listen(self.hub, *names or "a")
        asked = threading.Event()

        def run() -> None:
            asked.set()
            with contextlib.suppress(SubscriptionClosed):
                self.found[cursor] = after(self.hub, inbox, cursor)

        self._threads.append(spawn("test", run))
        asked.wait(5)
        return inbox

    def wait(self) -> None:
        for thread in self._threads:
            thread.join(5)


@pytest.fixture
def storm() -> Iterator[Storm]:
    """A storm whose broker answers nothing until its gate is open."""
    broker, hub = make()
    yield Storm(hub)
    broker.gate.set()
    hub.close()


def closed(storm: Storm) -> CountingBroker:
    broker = storm.hub.broker
    assert isinstance(broker, CountingBroker)
    broker.gate.clear()
    return broker


def waiting(storm: Storm) -> int:
    """Return how many readings wait for their turn."""
    replays = storm.hub.replays
    every = [reading for readings in replays._readings.values() for reading in readings]
    return len([reading for reading in every if reading.began is None])


def test_an_older_reading_serves_newer_positions(storm):
    """A client that missed less is given the end of what was read for one that missed more."""
    broker = storm.hub.broker
    ids = [broker.emit("a", f"m{number}") for number in range(20)]
    found = [after(storm.hub, listen(storm.hub, "a"), cursor) for cursor in ids]

    assert [len(snapshot.messages) for snapshot in found] == list(range(19, -1, -1))
    assert [values(snapshot)[:1] for snapshot in found[:-1]] == [[f"m{n}"] for n in range(1, 20)]
    assert {snapshot.reason for snapshot in found} == {None}
    assert broker.replays == 1


def test_a_reading_that_waits_for_its_turn_is_made_from_the_oldest_position(storm):
    """However many positions are asked for meanwhile, one more reading serves all of them."""
    broker = storm.hub.broker
    ids = [broker.emit("a", f"m{number}") for number in range(20)]
    closed(storm)
    for name in ("b", "c"):
        storm.resume(ids[0], name)
    wait_until(lambda: broker.reading == AT_ONCE)
    for cursor in reversed(ids):
        storm.resume(cursor, "a")
    wait_until(lambda: waiting(storm) == 1)
    broker.gate.set()
    storm.wait()

    assert [values(storm.found[id])[:1] for id in ids[1:-1]] == [[f"m{n}"] for n in range(2, 20)]
    assert broker.replays == 3


def test_few_readings_take_place_at_once(storm):
    """Further ones wait, as each keeps the worker from its other work."""
    broker = closed(storm)
    ids = [broker.emit(f"c{number}", "x") for number in range(10)]
    for number in range(10):
        storm.resume(ids[0], f"c{number}")
    wait_until(lambda: waiting(storm) == 10 - AT_ONCE)
    broker.gate.set()
    storm.wait()

    assert broker.replays == 10
    assert broker.most == AT_ONCE


def test_an_older_position_that_is_lost_spoils_no_other(storm):
    """A client whose own position is covered is sent no reset because of one that is not."""
    broker = storm.hub.broker
    ids = [broker.emit("a", f"m{number}") for number in range(3)]
    closed(storm)
    for name in ("b", "c"):
        storm.resume(ids[0], name)
    wait_until(lambda: broker.reading == AT_ONCE)
    storm.resume(ids[1])
    storm.resume(Position(1))
    broker.gate.set()
    storm.wait()

    assert storm.found[Position(1)].reason == "flushed"
    assert (storm.found[ids[1]].reason, values(storm.found[ids[1]])) == (None, ["m2"])


def test_more_than_too_much_is_too_much(storm):
    """A position before one that missed too much is not read; a later one is."""
    broker = storm.hub.broker
    ids = [broker.emit("a", f"m{number}") for number in range(4)]
    broker.too_much_before = ids[2]
    asked = (ids[1], ids[0], ids[2], ids[3])
    found = [after(storm.hub, listen(storm.hub, "a"), cursor) for cursor in asked]

    assert [snapshot.reason for snapshot in found] == ["too much", "too much", None, None]
    assert [values(snapshot) for snapshot in found[2:]] == [["m3"], []]
    assert broker.replays == 2


def test_nothing_is_read_for_a_client_that_has_left(storm):
    """Its turn goes to the next one that waits for the same reading."""
    broker = storm.hub.broker
    ids = [broker.emit("a", f"m{number}") for number in range(3)]
    closed(storm)
    for name in ("b", "c"):
        storm.resume(ids[0], name)
    wait_until(lambda: broker.reading == AT_ONCE)
    gone = storm.resume(ids[0], "a")
    alone = storm.resume(ids[0], "d")
    wait_until(lambda: waiting(storm) == 2)
    storm.resume(ids[1], "a")
    gone.close(endings.GONE)
    alone.close(endings.GONE)
    broker.gate.set()
    storm.wait()

    assert values(storm.found[ids[1]]) == ["m2"]
    assert broker.replays == 3
    assert waiting(storm) == 0


# --- what is kept -----------------------------------------------------------------------------


def test_a_reading_is_kept_for_a_moment(storm, monkeypatch):
    """It serves a storm, and is gone soon after, also if nobody asks any more."""
    clock = Clock()
    monkeypatch.setattr(replays, "time", clock)
    broker = storm.hub.broker
    cursor = broker.emit("a", "x")
    broker.emit("a", "y")
    after(storm.hub, listen(storm.hub, "a"), cursor)
    kept = len(storm.hub.replays._kept)
    clock.now += replays.KEPT_FOR
    storm.hub._look()

    assert kept == 1
    assert not storm.hub.replays._kept
    assert not storm.hub.replays._readings
    assert storm.hub.replays._size == 0


def test_readings_are_bounded_together(storm, monkeypatch):
    """The oldest readings go, so that the others fit; the last one is kept, however large."""
    broker = storm.hub.broker
    cursor = broker.emit("a", "x")
    for name in "abc":
        broker.emit(name, "y" * 5000)
    monkeypatch.setattr(replays, "KEPT", 12_000)
    for name in "abc":
        after(storm.hub, listen(storm.hub, name), cursor)
    two = [reading.channels for reading in storm.hub.replays._kept]
    monkeypatch.setattr(replays, "KEPT", 1000)
    storm.hub.replays.evict()

    assert two == [frozenset(channels("b")), frozenset(channels("c"))]
    assert [reading.channels for reading in storm.hub.replays._kept] == two[1:]
    assert list(storm.hub.replays._readings) == two[1:]


def test_two_readings_share_their_messages(storm):
    """A message that somebody still waits for is kept once, and no longer than that."""
    one, other = ([message(number) for number in numbers] for numbers in ((1, 2), (2, 3)))
    storm.hub.replays._share(one)
    storm.hub.replays._share(other)
    known = storm.hub.replays._known
    shared, before = other[0] is one[1], len(known)
    del one, other

    assert (shared, before, len(known)) == (True, 3, 0)


def test_memory_is_given_back_after_a_storm(storm, monkeypatch):
    """When most of what was read is free again, the system gets the memory back, once."""
    told: list[object] = []
    size = size_of([message(100)])
    monkeypatch.setattr(memory, "give_back", lambda: told.append("given back"))
    monkeypatch.setattr(replays, "WORTHWHILE", 300 * size)
    kept = [message(number) for number in range(100, 1000)]
    storm.hub.replays._share(kept)
    reading = Reading(frozenset(), Position(1), alone=False)
    storm.hub.replays._keep(reading, Snapshot(Position(1000), kept, {}))
    for left in (900, 451, 449, 300, 200, 100, 0):
        del kept[left:]
        storm.hub.replays.maybe_give_back()
        told.append(left)

    # The second time more than 300 were left of the first, and the third time less.
    assert told == [900, 451, "given back", 449, 300, "given back", 200, 100, 0]


def test_another_message_with_the_same_id_is_not_shared(storm):
    """After the clock went back, Redis may give an id out again."""
    old, new = message(1, "old"), message(1, "new")
    messages = [new]
    storm.hub.replays._share([old])
    storm.hub.replays._share(messages)

    assert messages[0] is new


@pytest.mark.parametrize("backlog", [False, True])
def test_history_waits_for_requests_to_disconnect(monkeypatch, backlog):
    """It may be newer than a request that this worker has not received yet."""
    received, read = threading.Event(), MemoryFeed.read
    received.set()

    def read_late(feed: MemoryFeed, timeout: float) -> list[Received]:
        got = read(feed, timeout)
        received.wait(5)
        return got

    monkeypatch.setattr(MemoryFeed, "read", read_late)
    broker, hub = make()
    inbox = listen(hub, "a")
    before = broker.emit("a", "one")
    wait_until(lambda: hub.position == before)
    received.clear()
    request = broker.publish(KICKS, encode('{"identity": "eve"}'))
    broker.emit("a", "two")
    found: list[object] = []

    def replay() -> None:
        if backlog:
            found.extend(values(hub.replays.last(inbox.channels, 1)))
        else:
            found.extend(values(hub.replays.after(inbox, inbox.channels, before)))

    spawn("replay", replay)
    time.sleep(0.2)
    assert not found
    received.set()
    wait_until(lambda: found)

    assert hub.position is not None
    assert request is not None
    assert hub.position >= request
    assert found == ["two"]
    hub.close()


def test_a_failed_reading_is_not_kept():
    """It fails for all who waited for it; who comes later reads anew."""
    broker, hub = make()
    cursor = broker.emit("a", "x")
    broker.emit("a", "y")
    one, two = listen(hub, "a"), listen(hub, "a")
    outcomes: list[object] = []

    def replay(inbox: Subscription) -> None:
        try:
            outcomes.append(values(after(hub, inbox, cursor)))
        except BrokerError:
            outcomes.append("failed")

    broker.gate.clear()
    broker.fail = True
    first = spawn("test", lambda: replay(one))
    wait_until(lambda: broker.replays == 1)
    second = spawn("test", lambda: replay(two))
    broker.gate.set()
    first.join(5)
    second.join(5)
    broker.fail = False
    replay(one)

    assert outcomes == ["failed", "failed", ["y"]]
    hub.close()


def test_a_position_ahead_of_this_worker_is_left_to_redis():
    """Another worker was quicker: memory cannot say whether that is all."""
    _, hub = make()
    inbox = listen(hub, "a")
    ahead = Position((hub.position or Position(0)).ms + 3_600_000)

    assert after(hub, inbox, ahead).reason == "rolled back"
    hub.close()


def test_open_broker_finds_the_same_memory_again():
    """Two who name the same URL meet."""
    one = open_broker("memory://meet", prefix="p:", history=5, history_ttl=5)

    assert open_broker("memory://meet", prefix="p:", history=5, history_ttl=5) is one
    assert open_broker("memory://other", prefix="p:", history=5, history_ttl=5) is not one


def test_a_resume_may_be_too_much():
    """A client that missed more bytes than one may be sent is reset, and begins now."""
    broker = CountingBroker()
    hub = Hub(Settings(url="memory://", max_replay=2000), broker, None)
    first = broker.emit("a", "x")
    for _ in range(3):
        last = broker.emit("a", "x" * 900)
    inbox = listen(hub, "a")
    snapshot = after(hub, inbox, first)

    assert (snapshot.messages, snapshot.reason, snapshot.clock) == ([], "too much", last)
    hub.close()
