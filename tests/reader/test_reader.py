"""The reader's acknowledgements, with the order of arrival forced."""

from __future__ import annotations

from collections.abc import Collection

from flask_redis_events.broker.base import Acknowledgement, Feed
from flask_redis_events.broker.memory import MemoryBroker, MemoryFeed
from flask_redis_events.channels import Channel
from flask_redis_events.clients import Subscription
from flask_redis_events.hub import Hub
from flask_redis_events.settings import Settings
from tests.support.factories import channels, went_live
from tests.support.waiting import wait_until

A = Channel("a")


class HoldingFeed(MemoryFeed):
    """Acknowledges channel a when it is told to, and not before."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker)
        self.commands: list[str] = []

    def subscribe(self, channels: Collection[Channel]) -> None:
        self.commands += ["subscribe"] * (A in channels)
        super().subscribe([channel for channel in channels if channel != A])

    def unsubscribe(self, channels: Collection[Channel]) -> None:
        self.commands += ["unsubscribe"] * (A in channels)

    def acknowledge(self) -> None:
        self._put(Acknowledgement(A))


class HoldingBroker(MemoryBroker):
    """Opens feeds that hold back."""

    def open(self) -> Feed:
        self.feed = HoldingFeed(self)
        return self.feed


def test_an_early_acknowledgement_promises_nothing():
    """A channel that is left and joined again waits for the acknowledgement of the second time."""
    broker = HoldingBroker()
    hub = Hub(Settings(url="memory://"), broker, None)
    other = Subscription(channels("b"))
    hub.listen(other)
    assert went_live(other)
    first, second = Subscription([A]), Subscription([A])
    hub.listen(first)
    wait_until(lambda: broker.feed.commands == ["subscribe"])
    hub.unlisten(first)
    wait_until(lambda: broker.feed.commands == ["subscribe", "unsubscribe"])
    hub.listen(second)
    wait_until(lambda: broker.feed.commands == ["subscribe", "unsubscribe", "subscribe"])
    broker.feed.acknowledge()

    assert not went_live(second, 0.2)
    broker.feed.acknowledge()
    assert went_live(second)
    hub.close()
