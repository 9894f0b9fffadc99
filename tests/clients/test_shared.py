"""Groups of clients, by key."""

from __future__ import annotations

import threading

import pytest

from flask_redis_events.clients import Shared, Subscription
from flask_redis_events.concurrency import spawn


class Group:
    """Remembers who joined, and what it was told."""

    def __init__(self) -> None:
        self.members: list[Subscription] = []
        self.told: list[str] = []
        self.closed: object = None

    def start(self) -> None:
        self.told.append("start")

    def join(self, member: Subscription) -> None:
        self.told.append("join")
        self.members.append(member)

    def release(self, member: Subscription) -> bool:
        self.told.append("release")
        self.members.remove(member)
        return not self.members

    def stop(self) -> None:
        self.told.append("stop")


@pytest.fixture
def shared() -> Shared:
    return Shared()


def join(shared: Shared, key: str = "a") -> tuple[Group, Subscription]:
    """Let another client join; return the group and the client."""
    member = Subscription()
    return shared.join(key, Group, member), member


def test_the_first_client_makes_the_group(shared):
    """A group is started when its first client has joined, and the next client joins the same."""
    group, one = join(shared)
    same, other = join(shared)

    assert same is group
    assert group.told == ["join", "start", "join"]
    assert group.members == [one, other]


def test_each_key_has_a_group_of_its_own(shared):
    """Clients of another key join another group."""
    assert join(shared, "a")[0] is not join(shared, "b")[0]


def test_the_last_client_ends_the_group(shared):
    """A group goes on while it has clients, and is stopped when its last client has left."""
    group, one = join(shared)
    _, other = join(shared)
    shared.leave("a", group, one)
    while_one_is_left = list(group.told)
    shared.leave("a", group, other)

    assert "stop" not in while_one_is_left
    assert group.told[-2:] == ["release", "stop"]


def test_a_client_that_comes_after_the_end_makes_another_group(shared):
    """A group that was stopped is joined by nobody."""
    group, member = join(shared)
    shared.leave("a", group, member)
    another, _ = join(shared)

    assert another is not group
    assert another.told == ["join", "start"]


def test_a_group_that_is_over_is_replaced(shared):
    """A client does not join a group that produces nothing more, though it has clients left."""
    group, _ = join(shared)
    group.closed = "ended"
    another, member = join(shared)

    assert another is not group
    assert another.members == [member]


def test_the_end_of_a_replaced_group_does_not_end_its_successor(shared):
    """A client joins the new group of its key after the last client has left the old one."""
    group, member = join(shared)
    group.closed = "ended"
    another, _ = join(shared)
    shared.leave("a", group, member)

    assert group.told[-1] == "stop"
    assert join(shared)[0] is another


def test_a_group_that_cannot_be_made_is_not_kept(shared):
    """After an error the next client makes the group."""

    def fail() -> Group:
        raise ValueError("no such view")

    with pytest.raises(ValueError, match="no such view"):
        shared.join("a", fail, Subscription())

    assert join(shared)[0].told == ["join", "start"]


def test_a_group_that_cannot_start_is_not_kept(shared):
    """After an error, as of a process without a thread left, the next client makes another one."""

    class Failing(Group):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    with pytest.raises(RuntimeError, match="thread"):
        shared.join("a", Failing, Subscription())

    assert join(shared)[0].told == ["join", "start"]


def test_nobody_joins_a_group_as_it_is_stopped(shared):
    """A client that comes while the last client leaves joins another group."""
    joined = threading.Event()
    joins: list[Group] = []

    def join_meanwhile() -> None:
        joins.append(join(shared)[0])
        joined.set()

    class Slow(Group):
        """A group of which another client is known, or waits, before it has forgotten one."""

        def release(self, member: Subscription) -> bool:
            was_last = super().release(member)
            spawn("test", join_meanwhile)
            joined.wait(0.1)
            return was_last

    member = Subscription()
    group = shared.join("a", Slow, member)
    shared.leave("a", group, member)

    assert joined.wait(5)
    assert joins[0] is not group
    assert group.members == []
