"""Who listens to what."""

from __future__ import annotations

import pytest

from flask_redis_events.channels import Channel
from flask_redis_events.clients import Registry, Subscription
from tests.support.factories import channels


def test_the_first_one_subscribes_and_the_last_one_unsubscribes():
    """Only the channels that nobody else hears are I/O to do."""
    registry = Registry()
    one, two = Subscription(channels("a", "b")), Subscription(channels("b", "c"))

    assert registry.add(one)[1] == channels("a", "b")
    assert registry.add(two)[1] == channels("c")
    assert registry.remove(one) == channels("a")
    assert registry.remove(one) == []
    assert registry.remove(two) == channels("b", "c")
    assert registry.channels == []


def test_clients_of_the_same_channels_are_one_audience():
    """The order in which they name the channels does not matter."""
    registry = Registry()
    one, two = Subscription(channels("a", "b")), Subscription(channels("b", "a"))

    assert registry.add(one)[0] is registry.add(two)[0]
    assert registry.remove(one) == []


def test_ways_are_the_channel_and_the_patterns_that_match():
    """A message on a channel is heard through each of them."""
    registry = Registry()
    registry.add(Subscription(channels("orders:1", "orders:*")))
    registry.add(Subscription(channels("*")))

    assert set(registry.ways("orders:1")) == set(channels("orders:1", "orders:*", "*"))
    assert set(registry.ways("orders:2")) == set(channels("orders:*", "*"))


@pytest.mark.parametrize(
    "heard, name, via",
    [
        pytest.param(["a"], "a", "a", id="exact"),
        pytest.param(["a", "a*"], "a", "a", id="exact before pattern"),
        pytest.param(["a", "a*"], "ab", "a*", id="pattern where no exact one is"),
        pytest.param(["a*", "*"], "ab", "*", id="one of two patterns"),
    ],
)
def test_an_audience_hears_a_message_once(heard, name, via):
    """Redis sends it once for each subscription that matches; one of them counts."""
    registry = Registry()
    audience, _ = registry.add(Subscription(channels(*heard)))
    hears = [way for way in registry.ways(name) if audience.hears(way, name)]

    assert hears == [Channel.parse(via)]


def test_a_name_that_is_no_utf8_is_heard_by_who_asked_for_it():
    """Redis matched its bytes; the name that came of them matches the pattern no more."""
    registry = Registry()
    audience, _ = registry.add(Subscription(channels("a?", "b")))
    [way] = channels("a?")

    assert audience.hears(way, b"a\xff".decode("utf-8", "replace"))
