"""History is read once, however many come back together."""

from __future__ import annotations

import functools
import threading
from collections.abc import Collection

from flask_redis_events.broker import open_broker
from flask_redis_events.broker.coverage import Snapshot
from flask_redis_events.broker.memory import MemoryBroker
from flask_redis_events.channels import Channel
from flask_redis_events.clients import Subscription
from flask_redis_events.concurrency import spawn
from flask_redis_events.exceptions import BrokerError
from flask_redis_events.hub import Hub
from flask_redis_events.settings import Settings
from flask_redis_events.wire import Message, Position
from flask_redis_events.wire.sse import encode
from tests.support.factories import channels, went_live
from tests.support.waiting import wait_until


class CountingBroker(MemoryBroker):
    """Counts the replays of cursors, and can hold them up."""

    def __init__(self) -> None:
        super().__init__()
        self.replays = 0
        self.gate = threading.Event()
        self.gate.set()
        self.fail = False

    def replay(
        self,
        channels: Collection[Channel],
        *,
        after: Position | None = None,
        last: int = 0,
        limit: int = 0,
        max_bytes: int | None = None,
        witness: Message | None = None,
        since: Position | None = None,
    ) -> Snapshot:
        if after is not None:
            self.replays += 1
            self.gate.wait(5)
            if self.fail:
                raise BrokerError("On purpose.")
        return super().replay(channels, after=after, last=last, max_bytes=max_bytes)

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


def test_each_position_and_set_of_channels_is_read_for_itself():
    """What is shared is the very same question."""
    broker, hub = make()
    first, second = broker.emit("a", "x"), broker.emit("b", "y")
    broker.emit("a", "z")

    assert values(after(hub, listen(hub, "a"), first)) == ["z"]
    assert values(after(hub, listen(hub, "a"), second)) == ["z"]
    assert values(after(hub, listen(hub, "a", "b"), first)) == ["y", "z"]
    assert broker.replays == 3
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
