"""Where a stream begins."""

from __future__ import annotations

from flask_redis_events.broker.memory import MemoryBroker
from flask_redis_events.clients import Subscription
from flask_redis_events.hub import Hub
from flask_redis_events.settings import Settings
from flask_redis_events.streams.resume import Asked, Beginning, begin_at_once, begin_from_redis
from flask_redis_events.wire import Form, Position
from flask_redis_events.wire.sse import encode
from tests.support.factories import channels, went_live


def listen(hub: Hub, name: str) -> Subscription:
    inbox = Subscription(channels(name), held=True)
    hub.listen(inbox)
    assert went_live(inbox)
    return inbox


def begin(hub: Hub, inbox: Subscription, *, backlog: int = 0) -> Beginning:
    asked = Asked(hub, inbox, inbox.channels, backlog=backlog)
    return begin_at_once(asked) or begin_from_redis(asked)


def test_a_new_stream_begins_where_its_subscribe_was():
    """Not where the worker had got to, which did not hear what was emitted on it before."""
    broker = MemoryBroker()
    hub = Hub(Settings(url="memory://"), broker, None)
    listen(hub, "heard")
    unheard = broker.publish("new", encode("x"))
    inbox = listen(hub, "new")

    assert begin(hub, inbox).position == unheard
    # The next one finds it acknowledged, and the worker has heard nothing since.
    another = listen(hub, "new")
    assert begin(hub, another).position == unheard
    hub.close()


def resume(hub: Hub, name: str, id: Position | None) -> Beginning:
    inbox = listen(hub, name)
    asked = Asked(hub, inbox, inbox.channels, str(id))
    return begin_at_once(asked) or begin_from_redis(asked)


def test_the_client_of_a_silent_channel_does_not_grow_old():
    """A client that missed nothing goes on from now, however short its connections are."""
    broker = MemoryBroker()
    hub = Hub(Settings(url="memory://"), broker, None)
    old = broker.publish("silent", encode("x"))
    now = broker.publish("other", encode("x"))

    assert resume(hub, "silent", old) == Beginning(now, now)
    # One that missed something comes to its message first.
    assert resume(hub, "other", old).position == old
    hub.close()


def test_a_reset_moves_the_position_where_no_message_does():
    """So a client whose connection is a short one is not told again."""
    broker = MemoryBroker(history=1)
    hub = Hub(Settings(url="memory://"), broker, None)
    old = broker.publish("a", encode("x"))
    for _ in range(2):
        broker.publish("a", encode("x"))
    before = resume(hub, "a", old)
    nothing = resume(hub, "never", Position(1))

    assert [batch.position for batch in before.batches] == [None, before.floor]
    assert [batch.position for batch in nothing.batches] == [nothing.floor]
    # It is told again if it is cut before the `reset`.
    assert nothing.position == Position(1)
    hub.close()


def test_a_backlog_begins_just_before_its_first_message():
    """A client that is cut after `ready` gets the same again, and no reset."""
    broker = MemoryBroker(history=100)
    hub = Hub(Settings(url="memory://"), broker, None)
    broker.publish("new", encode("rare"))
    for _ in range(300):
        broker.publish("busy", encode("x"))
    last = broker.publish("new", encode("y"))
    inbox = Subscription(channels("new", "busy"), held=True)
    hub.listen(inbox)
    assert went_live(inbox)
    beginning = begin(hub, inbox, backlog=1)
    again = broker.replay(inbox.channels, after=beginning.position)

    assert [m.id for batch in beginning.batches for m in batch.messages] == [last]
    assert ([m.id for m in again.messages], again.reason) == ([last], None)
    hub.close()


def test_a_backlog_may_be_too_much():
    """More bytes than one client may be sent are a reset."""
    broker = MemoryBroker()
    hub = Hub(Settings(url="memory://", max_replay=2000), broker, None)
    for _ in range(3):
        broker.publish("new", encode("x" * 900))
    inbox = listen(hub, "new")
    few, many = begin(hub, inbox, backlog=2), begin(hub, inbox, backlog=3)

    assert [len(batch.messages) for batch in few.batches] == [2]
    assert [b"too much" in batch.encode(Form(True)) for batch in many.batches] == [True]
    assert many.position == many.floor
    hub.close()
