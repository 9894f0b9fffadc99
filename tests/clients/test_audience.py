"""Clients who are offered the same messages."""

from __future__ import annotations

import pytest

from flask_redis_events import concurrency, endings
from flask_redis_events.channels import Channel
from flask_redis_events.clients import Audience, Owner, Subscription
from flask_redis_events.concurrency import Turn
from flask_redis_events.endings import Ending
from flask_redis_events.exceptions import SubscriptionClosed
from flask_redis_events.wire import Batch, Form, Position, control
from flask_redis_events.wire.control import Loss
from tests.support.clock import Clock
from tests.support.factories import batch, channels, message, sent


class Leaving(Owner):
    """Leaves the audience as soon as its client is closed."""

    def __init__(self, audience: Audience, client: Subscription) -> None:
        self._audience = audience
        self._client = client

    def closed(self, ending: Ending) -> None:
        self._audience.leave(self._client)


def audience_of(*members: Subscription) -> Audience:
    audience = Audience(channels("orders"))
    for member in members:
        audience.join(member)
    return audience


# --- who belongs to it ------------------------------------------------------------------------


def test_a_client_belongs_to_its_audience_until_it_leaves():
    """A client is a member from `join` to `leave`, however often either is called."""
    client, other, audience = Subscription(), Subscription(), Audience()
    audience.join(client)
    audience.join(client)
    while_member = (client in audience, other in audience, list(audience), audience.has_members)
    audience.leave(client)
    audience.leave(client)

    assert while_member == (True, False, [client], True)
    assert (client in audience, list(audience), audience.has_members) == (False, [], False)


def test_members_may_leave_while_all_are_called():
    """A loop over an audience is over its members at the loop's begin."""
    audience = audience_of(Subscription(), Subscription(), Subscription())
    for member in audience:
        audience.leave(member)

    assert not audience.has_members


# --- what it is offered -----------------------------------------------------------------------


def test_all_members_are_offered_the_same_bytes():
    """Each member takes the one batch, whose bytes are made once."""
    members = [Subscription() for _ in range(3)]
    offered = batch(1, 2)
    count = audience_of(*members).offer(offered)
    taken = [member.take(0) for member in members]

    assert count == 3
    assert taken == [[offered]] * 3
    assert len({id(one.encode(Form())) for [one] in taken}) == 1


def test_a_member_that_ends_takes_nobody_with_it():
    """A member that is closed and leaves when it is offered a batch does not end the fan-out."""
    members = [Subscription(limit=1) for _ in range(5)]
    audience = audience_of(*members)
    for member in members[:2]:
        member.owner = Leaving(audience, member)
        member.offer(batch(1))
    audience.offer(batch(2))
    left = [member.closed for member in members]

    assert left == [endings.OVERFLOW] * 2 + [None] * 3
    assert set(audience) == set(members[2:])
    assert [sent(member.take(0)) for member in members[2:]] == [sent([batch(2)])] * 3


def test_others_run_during_a_long_fan_out(monkeypatch):
    """A large audience rests whenever a millisecond is over, and goes on with the next member."""
    clock = Clock()
    monkeypatch.setattr(concurrency, "time", clock)
    served: list[int] = []
    rests: list[int] = []

    class Slow(Subscription):
        """A client that takes half a millisecond."""

        def offer(self, batch: Batch) -> None:
            served.append(1)
            clock.now += concurrency.TURN * 0.51

    turn = Turn(lambda: rests.append(len(served)))
    audience_of(*(Slow() for _ in range(7))).offer(batch(1), turn)

    assert rests == [2, 4, 6]


def test_a_client_that_joins_during_a_fan_out_is_not_offered_its_batch(monkeypatch):
    """A client that joins while a fan-out rests begins after the batch that is under way."""
    clock = Clock()
    monkeypatch.setattr(concurrency, "time", clock)
    audience, newcomer = audience_of(Subscription()), Subscription()
    turn = Turn(lambda: audience.join(newcomer))
    clock.now += concurrency.TURN
    count = audience.offer(batch(1), turn)

    assert count == 1
    assert newcomer.take(0) == []
    assert newcomer in audience


def test_each_member_judges_a_loss_by_its_own_position():
    """A loss is told to the members that were not beyond it; their number is returned."""
    members = [Subscription() for _ in range(3)]
    for member, floor in zip(members, [5, 8, 9], strict=True):
        member.start(Position(floor))
    told = audience_of(*members).lose(Loss("trimmed", Position(8)))

    assert told == 1
    assert [len(member.take(0)) for member in members] == [1, 0, 0]


def test_all_members_are_closed_after_the_last_frame():
    """Each member takes what waits and the last frame, and then ends for the reason."""
    members = [Subscription(), Subscription()]
    audience = audience_of(*members)
    audience.offer(batch(1))
    last = control.reconnect("draining", retry=1)
    audience.close(endings.DRAINING, last=last)

    for member in members:
        assert member.take(0)[-1:] == [last]
        with pytest.raises(SubscriptionClosed, match="draining"):
            member.take(0)


# --- what it gathers --------------------------------------------------------------------------


def test_pending_messages_are_one_batch():
    """Messages that were gathered are offered together, once, and in order."""
    client = Subscription()
    audience = audience_of(client)
    audience.pending += [message(1), message(2)]
    counts = [audience.flush(Turn())]
    taken = client.take(0)

    assert counts == [1]
    assert [[one.id.ms for one in each.messages] for each in taken] == [[1, 2]]
    assert audience.pending == []


def test_messages_that_come_during_a_flush_are_the_next_batch(monkeypatch):
    """A message that is gathered while a flush rests is kept for the next flush."""
    clock = Clock()
    monkeypatch.setattr(concurrency, "time", clock)
    client = Subscription()
    audience = audience_of(client)
    audience.pending.append(message(1))
    turn = Turn(lambda: audience.pending.append(message(2)))
    clock.now += concurrency.TURN
    audience.flush(turn)
    then = [one.id.ms for one in audience.pending]
    audience.flush(Turn())
    taken = client.take(0)

    assert then == [2]
    assert [[one.id.ms for one in each.messages] for each in taken] == [[1], [2]]


# --- which way it hears -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "heard, via, name, hears",
    [
        pytest.param(["a"], "a", "a", True, id="the exact name"),
        pytest.param(["a*"], "a*", "ab", True, id="its only pattern"),
        pytest.param(["ab", "a*"], "ab", "ab", True, id="the name before a pattern"),
        pytest.param(["ab", "a*"], "a*", "ab", False, id="a pattern after the name"),
        pytest.param(["ab", "a*"], "a*", "ac", True, id="a pattern for another name"),
        pytest.param(["a*", "*b"], "*b", "ab", True, id="the first of two patterns that match"),
        pytest.param(["a*", "*b"], "a*", "ab", False, id="the second of two patterns that match"),
        pytest.param(["a*", "*b"], "a*", "ac", True, id="the one pattern that matches"),
    ],
)
def test_a_message_is_for_an_audience_through_one_way_only(heard, via, name, hears):
    """An audience hears a message by its name, or else by the first pattern that matches."""
    audience = Audience(channels(*heard))

    assert audience.hears(Channel.parse(via), name) is hears
