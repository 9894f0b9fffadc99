"""How often something may be done in a minute."""

from __future__ import annotations

import pytest

from flask_redis_events import rate
from flask_redis_events.rate import Rate
from tests.support.clock import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rate, "time", clock)
    return clock


def test_each_name_has_a_rate_of_its_own(clock):
    """A name is admitted as often as the limit says, whatever others do."""
    limited = Rate(2)

    assert [limited.admits("a") for _ in range(4)] == [True, True, False, False]
    assert limited.admits("b")


def test_every_minute_begins_anew(clock):
    """After a minute the names are forgotten, so that they take no memory."""
    limited = Rate(1)
    admitted = []
    for seconds in (0, 59, 1, 59):
        clock.now += seconds
        admitted.append(limited.admits("a"))
    clock.now += 1
    limited.admits("b")

    assert admitted == [True, False, True, False]
    assert list(limited._counts) == ["b"]


def test_without_a_limit_everything_is_admitted(clock):
    """`None` counts nothing."""
    unlimited = Rate(None)

    assert all(unlimited.admits("a") for _ in range(1000))
    assert not unlimited._counts
