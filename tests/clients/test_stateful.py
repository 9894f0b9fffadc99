"""A client of a stream that begins with the state: a loss makes it begin anew."""

from __future__ import annotations

import pytest

from flask_redis_events import endings
from flask_redis_events.clients import Finite, Owner, Stateful
from flask_redis_events.endings import Ending
from flask_redis_events.wire import Batch, Position
from flask_redis_events.wire.control import Loss
from tests.support.factories import message


class Dismissed(Owner):
    """Notes with what its client was dismissed."""

    def __init__(self) -> None:
        self.endings: list[Ending] = []

    def dismiss(self, ending: Ending) -> bool:
        self.endings.append(ending)
        return True


def test_a_client_that_missed_something_begins_anew():
    """One whose own position shows that it missed nothing goes on."""
    owner = Dismissed()
    client = Stateful(owner=owner)
    client.start(Position(5))
    client.lose(Loss("evicted", Position(5)))
    assert owner.endings == []

    client.lose(Loss("evicted", Position(6)))
    assert owner.endings == [endings.ANEW]


@pytest.mark.parametrize("kind", [Stateful, Finite])
def test_a_loss_before_the_beginning_counts(kind: type[Stateful]):
    """What is read from Redis may be older than a loss of which the client hears while it waits."""
    owners = [Dismissed(), Dismissed()]
    for owner, position in zip(owners, (Position(6), Position(5)), strict=True):
        client = kind(owner=owner, held=True)
        client.lose(Loss("forked", Position(6)))
        client.start(position)

    assert [owner.endings for owner in owners] == [[], [endings.ANEW]]


@pytest.mark.parametrize("overflow", ["close", "drop", "latest"])
def test_a_slow_client_resumes(overflow: str):
    """With every overflow policy, because `reset` alone would leave it with old values."""
    client = Stateful(overflow=overflow, limit=1024)
    client.start(None)
    for number in range(100):
        client.offer(Batch([message(number, "x" * 30, key=str(number))]))
    assert client.closed == endings.OVERFLOW

    # Values that newer ones have superseded are none that it missed.
    client = Stateful(overflow="latest", limit=1024)
    client.start(None)
    for number in range(100):
        client.offer(Batch([message(number, "x" * 30, key="p")]))
    assert client.closed is None
