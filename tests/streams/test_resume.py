"""Where a stream begins."""

from __future__ import annotations

from flask_redis_events.broker.memory import MemoryBroker
from flask_redis_events.clients import Subscription
from flask_redis_events.hub import Hub
from flask_redis_events.settings import Settings
from flask_redis_events.streams.resume import Beginning, begin_at_once, begin_from_redis
from flask_redis_events.wire.sse import encode
from tests.support.factories import channels, went_live


def listen(hub: Hub, name: str) -> Subscription:
    inbox = Subscription(channels(name), held=True)
    hub.listen(inbox)
    assert went_live(inbox)
    return inbox


def begin(hub: Hub, inbox: Subscription) -> Beginning:
    asked = hub, inbox, inbox.channels
    return begin_at_once(*asked) or begin_from_redis(*asked)


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
