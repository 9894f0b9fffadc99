"""The audit's verdict: it counts each kind of fault, and none if all is well."""

from __future__ import annotations

import pytest

from flask_redis_events.wire import Position
from flask_redis_events.wire.sse import Event
from tests.audit.verdict import Verdict, expected, judge

TRUTH = [(Position(number), f"c{number % 3}") for number in range(1, 10)]


def had(*numbers: int, control: str = "") -> list[Event]:
    events = [Event("message", "1", f"{number}-0") for number in numbers]
    return [*events, Event(control, "{}", "")] if control else events


def test_what_is_expected():
    """All messages on a client's channels and patterns after its beginning are expected."""
    numbers = [id.ms for id in expected(TRUTH, ["c0", "c1"], Position(3))]

    assert numbers == [4, 6, 7, 9]
    assert [id.ms for id in expected(TRUTH, ["c*"], Position(7))] == [8, 9]


@pytest.mark.parametrize(
    "events, faults",
    [
        (had(4, 6, 7, 9), {}),
        (had(4, 6, 9), {"lost": 1}),
        (had(), {"lost": 4}),
        (had(4, 6, 6, 7, 9), {"repeated": 1}),
        (had(4, 7, 6, 9), {"out_of_order": 1}),
        (had(4, 5, 6, 7, 9), {"strangers": 1}),
        (had(4, 6, 7, 9, control="reset"), {"resets": 1}),
        (had(4, 6, 7, 9, control="heartbeat"), {}),
    ],
)
def test_each_fault_is_counted(events, faults):
    """Each fault is counted once, and no other fault with it."""
    verdict = Verdict()
    judge(verdict, "client", events, [Position(n) for n in (4, 6, 7, 9)])
    counts = {
        name: getattr(verdict, name)
        for name in ("lost", "repeated", "out_of_order", "strangers", "resets")
    }

    assert {name: count for name, count in counts.items() if count} == faults
    assert verdict.clean == (not faults)
