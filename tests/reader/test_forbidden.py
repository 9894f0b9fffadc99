"""Channels that Redis does not let its user hear: nobody beside them is to notice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flask_redis_events import endings
from flask_redis_events.broker import Broker, open_broker
from flask_redis_events.clients import Subscription
from flask_redis_events.exceptions import SubscriptionClosed
from flask_redis_events.hub import Hub
from flask_redis_events.settings import Settings
from flask_redis_events.wire import Message
from tests.support.factories import channels, sent, went_live
from tests.support.servers import RedisServer
from tests.support.waiting import wait_until

#: What a user named ann may hear.
ALLOWED = ["resetchannels", "&events:$*", "&events:ok*"]


@pytest.fixture
def broker(own_redis_server: RedisServer) -> Iterator[Broker]:
    allow(own_redis_server)
    url = own_redis_server.url.replace("redis://", "redis://ann:secret@")
    broker = open_broker(url, prefix="events:", history=100, history_ttl=60.0)
    yield broker
    broker.close()


@pytest.fixture
def hub(broker) -> Iterator[Hub]:
    hub = Hub(Settings(), broker, None)
    yield hub
    hub.close()


def allow(server: RedisServer, *more: str) -> None:
    rights = ["on", ">secret", "allkeys", "+@all", *ALLOWED, *more]
    server.client().execute_command("ACL", "SETUSER", "ann", *rights)


def listening(hub: Hub, *names: str) -> Subscription:
    subscription = Subscription(channels(*names))
    hub.listen(subscription)
    return subscription


def hears(broker: Broker, subscription: Subscription, name: str) -> None:
    """Assert that what is emitted arrives."""
    broker.publish(name, Message.from_payload(name, b"hello").frame)
    assert [m.channel for batch in subscription.take(5) for m in batch.messages] == [name]


def assert_forbidden(subscription: Subscription) -> None:
    assert subscription.wait(lambda: subscription.closed, 5)
    assert subscription.closed is endings.FORBIDDEN
    assert b'"reason":"forbidden"' in sent(subscription.take(0))
    with pytest.raises(SubscriptionClosed):
        subscription.take(0)


def test_who_joins_a_forbidden_channel_is_sent_away(hub, broker, caplog):
    """The connection stays, with all who listen to what is allowed."""
    one = listening(hub, "ok")
    assert went_live(one)
    for _ in range(3):
        other = listening(hub, "no")
        assert_forbidden(other)
        hub.unlisten(other)
    pattern = listening(hub, "ok", "no*")
    assert_forbidden(pattern)
    hears(broker, one, "ok")

    assert hub.metrics.snapshot() | {"connected": 1, "forbidden": 4} == hub.metrics.snapshot()
    assert hub.metrics.snapshot().get("lost", 0) == 0
    assert caplog.text.count("does not let its user hear the channel 'no'") == 1


@pytest.mark.parametrize("connected", [False, True])
def test_a_storm_is_sorted(hub, broker, connected):
    """Redis refuses a command as a whole: all who may be heard are, whoever asked with them."""
    if connected:
        assert went_live(listening(hub, "ok-first"))
    with hub._lock:
        good = [listening(hub, f"ok{number}") for number in range(600)]
        bad = [listening(hub, f"no{number}") for number in range(50)]
        both = listening(hub, "ok0", "no0")
        # Left before it is answered: it is not asked for again.
        hub.unlisten(listening(hub, "no-more"))
    for subscription in [*bad, both]:
        assert_forbidden(subscription)
    for number, subscription in enumerate(good):
        assert went_live(subscription)
        assert subscription.closed is None
        if number % 100 == 0:
            hears(broker, subscription, f"ok{number}")


def test_who_joins_before_the_others_have_left_is_sent_away_too(hub):
    """The channel is not asked for again while someone seems to hear it."""
    first = listening(hub, "no")
    assert_forbidden(first)
    second = listening(hub, "no")
    assert_forbidden(second)


def test_a_channel_that_is_forbidden_later(hub, broker, own_redis_server):
    """Redis ends the connection; the next one goes without it, and what was missed is there."""
    allow(own_redis_server, "&events:no")
    good, bad = listening(hub, "ok"), listening(hub, "no")
    assert went_live(good)
    assert went_live(bad)
    hears(broker, bad, "no")
    allow(own_redis_server)
    wait_until(lambda: bad.closed, 10)
    hears(broker, good, "ok")

    assert bad.closed is endings.FORBIDDEN
    assert good.closed is None


def test_a_channel_that_is_allowed_later(hub, broker, own_redis_server):
    """It is asked for anew when somebody comes after the others have left."""
    subscription = listening(hub, "no")
    assert_forbidden(subscription)
    hub.unlisten(subscription)
    allow(own_redis_server, "&events:no")
    again = listening(hub, "no")
    assert went_live(again)

    hears(broker, again, "no")


def test_without_ticks_nothing_works(hub, own_redis_server, caplog):
    """The extension's own channel cannot be done without; the log says so."""
    without = ["resetchannels", "&events:ok*"]
    own_redis_server.client().execute_command("ACL", "SETUSER", "ann", *without)
    subscription = listening(hub, "ok")
    wait_until(lambda: "refused its user the channel '$ticks'" in caplog.text)

    assert not subscription.live
    allow(own_redis_server)
    assert went_live(subscription, 10)
