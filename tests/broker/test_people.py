"""Leases, and who is there: the same promises on Redis and on memory://."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from flask_redis_events.broker import Broker, open_broker
from flask_redis_events.broker.base import People
from tests.support.waiting import wait_until

ROOM = ("room", "ada")


@pytest.fixture(params=["redis", "memory"])
def broker(request, redis_server, prefix) -> Iterator[Broker]:
    url = redis_server.url if request.param == "redis" else f"memory://{prefix}"
    broker = open_broker(url, prefix=prefix, history=10, history_ttl=60.0)
    yield broker
    broker.close()


@pytest.fixture
def people(broker) -> People:
    people: People = broker.people
    return people


@pytest.fixture
def leases(people) -> None:
    """Let the workers of a test hold leases, because only their streams count."""
    for worker in ("w1", "w2", "dead"):
        people.renew(worker, "", 60, first=True)


def test_a_lease_says_what_its_worker_says(people):
    """It is there while it is renewed, and holds the newest text."""
    people.renew("w1", "one", 60, first=True)
    people.renew("w2", "two", 60, first=True)
    people.renew("w1", "one again", 60, first=False)

    assert sorted(people.leases()) == ["one again", "two"]


def test_a_lapsed_lease_is_cleaned_up_after_once(people):
    """The first who renews is told; the next ones are not, unless the first one dies, too."""
    people.renew("dead", "", 0.2, first=True)
    time.sleep(0.3)

    assert people.renew("w1", "", 0.4, first=True) == ["dead"]
    assert people.renew("w2", "", 60, first=True) == []
    time.sleep(0.5)
    assert sorted(people.renew("w2", "", 60, first=False)) == ["dead", "w1"]
    people.forget("dead")


def test_who_gives_up_is_cleaned_up_after_at_once(people):
    """A worker that ends does not leave the others waiting."""
    people.renew("w1", "", 60, first=True)
    people.resign("w1")

    assert people.renew("w2", "", 60, first=True) == ["w1"]
    assert people.leases() == [""]


def test_a_worker_whose_lease_has_lapsed_is_told(people):
    """Others may be cleaning up after it, so it must not go on under that name."""
    people.renew("w1", "", 0.1, first=True)
    time.sleep(0.2)

    assert people.renew("w1", "", 60, first=False) is None


def test_an_identity_joins_once(people, leases):
    """More streams, and streams in other workers, are the same identity."""
    assert people.note("w1", {ROOM: 1}, 60) == [ROOM]
    assert people.note("w1", {ROOM: 2}, 60) == []
    assert people.note("w2", {ROOM: 1, ("room", "bob"): 1}, 60) == [("room", "bob")]
    assert people.present("room") == {"ada": 3, "bob": 1}
    assert people.present("other") == {}


def test_a_leave_is_held_back(people, leases):
    """Who comes back in time has never left; who does not leaves once."""
    people.note("w1", {ROOM: 1}, 60)
    people.note("w1", {ROOM: 0}, 0.3)
    assert people.present("room") == {"ada": 0}
    assert people.note("w2", {ROOM: 1}, 60) == []
    time.sleep(1.5)
    assert people.left() == []
    people.note("w2", {ROOM: 0}, 0.2)
    left: list[tuple[str, str]] = []
    wait_until(lambda: left.__iadd__(people.left()), 3)

    assert left == [ROOM]
    assert people.left() == []
    assert people.present("room") == {}
    assert people.note("w1", {ROOM: 1}, 60) == [ROOM]


def test_streams_of_a_worker_whose_lease_has_lapsed_do_not_count(people):
    """They end with the lease, and not only when another worker has cleaned up."""
    people.renew("w1", "", 60, first=True)
    people.renew("dead", "", 0.3, first=True)
    people.note("w1", {ROOM: 1}, 60)
    people.note("dead", {ROOM: 2, ("room", "bob"): 1}, 60)
    assert people.present("room") == {"ada": 3, "bob": 1}
    time.sleep(0.4)

    assert people.present("room") == {"ada": 1, "bob": 0}


def test_who_never_came_does_not_leave(people):
    """A stream that opened and closed before anything was written is not seen."""
    assert people.note("w1", {ROOM: 0}, 0.0) == []
    assert people.present("room") == {}
    assert people.left() == []


def test_what_a_dead_worker_noted_can_be_taken_back(people, leases):
    """Its streams no longer count; those of others do."""
    entries = {("room", f"user {number}"): 1 for number in range(1200)}
    people.note("dead", entries, 60)
    people.note("w1", {("room", "user 7"): 1}, 60)
    assert set(people.all_noted("dead")) == set(entries)
    found = set()
    while some := people.noted("dead"):
        found |= set(some)
        people.note("dead", dict.fromkeys(some, 0), 0.0)
    left: list[tuple[str, str]] = []
    wait_until(lambda: len(left.__iadd__(people.left())) == 1199, 5)

    assert found == set(entries)
    assert people.present("room") == {"user 7": 1}


@pytest.mark.parametrize("identity", ["a b", "x:1", "w1:3 ", "ünïcode", "%s", "\x01"])
def test_an_identity_is_any_text(people, leases, identity):
    """No text is taken for a number of streams, or for a worker."""
    people.note("w1", {("room:%s ä", identity): 2}, 60)

    assert people.present("room:%s ä") == {identity: 2}
    assert people.noted("w1") == [("room:%s ä", identity)]


def test_what_redis_has_evicted_is_missed(redis_server, prefix):
    """A worker's entries are there, or some are not, or they are others' by now."""
    broker = open_broker(redis_server.url, prefix=prefix, history=10, history_ttl=60.0)
    people, other = broker.people, ("other", "bob")
    people.note("w1", {ROOM: 1, other: 2}, 60)
    assert people.has("w1", [ROOM, other])
    assert people.has("w1", [])
    redis_server.client().delete(f"{prefix}present:room")
    assert not people.has("w1", [ROOM, other])
    people.note("w2", {ROOM: 1}, 60)
    assert not people.has("w1", [ROOM, other])
    broker.close()
