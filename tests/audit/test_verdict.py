"""The audit's verdict: it counts each kind of fault, and none if all is well."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flask_redis_events.wire import Position
from tests.audit.fate import Excuse, Fate
from tests.audit.ledger import Emission, Had, Kept, Name
from tests.audit.verdict import LATE, Verdict, expected, judge

UNCOUNTED = ("deliveries", "details", "stories")


def emission(number: int) -> Emission:
    """Return the message that is emitted in this second, and has it as its id."""
    name = Name("e", number, f"c{number % 3}")
    return Emission(Kept(Position(number), name), number, number)


def had(*items: int | str) -> list[Had]:
    """Return events: a message for a number, a heartbeat for "~4", a reset for a reason.

    Each comes in the second of its id; a reset comes in that of the event before it.
    """
    events: list[Had] = []
    for item in items:
        at = events[-1].at if events else 0.0
        if isinstance(item, int):
            events.append(Had(item, "message", Position(item), emission(item).kept.name))
        elif item.startswith("~"):
            events.append(Had(max(at, int(item[1:])), "heartbeat", Position(int(item[1:]))))
        else:
            events.append(Had(at, "reset", None, data=json.dumps({"reason": item})))
    return events


def counts(events: list[Had], fate: Fate) -> dict[str, Any]:
    """Judge a client that should have received the messages 4, 6, 7 and 9."""
    verdict = Verdict()
    judge(verdict, "client", events, [emission(number) for number in (4, 6, 7, 9)], fate)
    values = {
        name: value for name, value in vars(verdict).items() if name not in UNCOUNTED and value
    }
    assert verdict.clean == (not values.keys() - {"told", "unseen", "true_resets", "excused"})
    return values


def test_what_is_expected():
    """All messages on a client's channels and patterns are expected."""
    truth = [emission(number) for number in range(1, 10)]

    assert [each.id.ms for each in expected(truth, ["c0", "c1"])] == [1, 3, 4, 6, 7, 9]
    assert [each.id.ms for each in expected(truth, ["c*"])] == list(range(1, 10))


@pytest.mark.parametrize(
    "events, faults",
    [
        (had(4, 6, 7, 9), {}),
        (had(4, 6, 9), {"lost": 1}),
        (had(), {"lost": 4}),
        (had(4, 6, 6, 7, 9), {"repeated": 1}),
        (had(4, 7, 6, 9), {"out_of_order": 1}),
        (had(4, 5, 6, 7, 9), {"strangers": 1}),
        (had(4, 6, 7, 9, "trimmed"), {"false_resets": 1}),
        (had(4, 6, "~7", 7, 9), {}),
        (had(4, 6, 7, "~6", 9), {"cursor_back": 1}),
        (had(4, 6, "~7", "trimmed", 9), {"told": 1, "false_resets": 1}),
    ],
)
def test_each_fault_is_counted(events: list[Had], faults: dict[str, Any]):
    """Each fault is counted once, and no other fault with it."""
    assert counts(events, Fate()) == faults


#: When Redis lost the message 7.
GONE = 8.0


@pytest.mark.parametrize(
    "events, found",
    [
        (had(4, 6, "~8", "trimmed", 9), {"told": 1, "true_resets": 1}),
        # While Redis still had it, it could have been delivered.
        (had(4, 6, "~7", "trimmed", 9), {"told": 1, "false_resets": 1}),
        # A reset before the message was emitted tells of something else.
        (had(4, 6, "trimmed", 9), {"lost": 1, "false_resets": 1}),
        (had(4, 6, "~9", "trimmed", 9, "trimmed"), {"told": 1, "true_resets": 2}),
        (had(4, 6, 9, f"~{int(10 + LATE)}", "x"), {"lost": 1, "false_resets": 1}),
    ],
)
def test_a_reset_is_true_if_redis_had_lost_what_was_missed(
    events: list[Had], found: dict[str, Any]
):
    """It tells of a message that was emitted before it, and that Redis had lost by then."""
    seen = {emission(number).kept: 100.0 for number in (4, 6, 9)}
    fate = Fate({**seen, emission(7).kept: GONE}, lasting=False)

    assert counts(events, fate) == found


@pytest.mark.parametrize(
    "events, found",
    [
        (had(4, 6, "~8", "overflow", 9), {"told": 1, "true_resets": 1}),
        (had(4, 6, 7, "overflow", 9), {"false_resets": 1}),
    ],
)
def test_an_overflow_tells_of_what_redis_still_has(events: list[Had], found: dict[str, Any]):
    """It is true if the client missed something."""
    assert counts(events, Fate()) == found


@pytest.mark.parametrize(
    "reason, mark, found",
    [
        ("evicted", 7, {"excused": {"evicted": 1}}),
        # The client had come further than what Redis lost.
        ("evicted", 6, {"false_resets": 1}),
        ("flushed", 7, {"false_resets": 1}),
    ],
)
def test_a_reset_is_excused_by_its_reason_and_its_moment(
    reason: str, mark: int, found: dict[str, Any]
):
    """Only clients that had not come to the mark may be told, and only of that reason."""
    fate = Fate(lasting=False, excuses=[Excuse(reason, 5.0, Position(mark))])

    assert counts(had(4, 6, "evicted", 7, 9), fate) == found


@pytest.mark.parametrize("silence, found", [(3.0, "excused"), (4.0, "false_resets")])
def test_silence_is_proven_for_its_time_only(silence: float, found: str):
    """A client that was away for longer may be told that something has expired."""
    events = had(4, 6, 7, 9)
    reset = Had(12.5, "reset", None, data='{"reason":"expired"}')

    assert found in counts([*events, reset], Fate(lasting=False, silence=silence))


@pytest.mark.parametrize("lag, found", [(1.0, "excused"), (0.4, "false_resets")])
def test_a_position_is_older_if_it_came_late(lag: float, found: str):
    """On a busy machine a client may be given a position that was old already."""
    reset = Had(12.5, "reset", None, data='{"reason":"expired"}')
    fate = Fate(lasting=False, silence=4.0, lags={9: lag, 13: 5.0})

    assert found in counts([*had(4, 6, 7, 9), reset], fate)


@pytest.mark.parametrize("received, found", [((), "unseen"), ((emission(7).kept,), "lost")])
def test_a_failover_may_lose_what_nobody_had(received: tuple[Kept, ...], found: str):
    """A message that no client had, and that a failover lost, cannot be told of."""
    fate = Fate(lasting=False, failovers=[(6.5, 8.5)], received=received)

    assert counts(had(4, 6, 9), fate) == {found: 1}


@pytest.mark.parametrize("over, found", [(16.0, "told"), (14.0, "lost")])
def test_a_failover_is_told_of_when_it_is_over(over: float, found: str):
    """A worker may stay with a master that was cut off, until that becomes a replica."""
    excuses = [Excuse("forked", 5.0, Position(100))]
    kept = {emission(number).kept: 100.0 for number in (4, 6, 7, 9)}
    fate = Fate(kept, lasting=False, excuses=excuses, failovers=[(6.5, over)])

    events = had(4, 6, 9, f"~{int(15 + LATE)}", "forked")
    assert counts(events, fate) == {found: 1, "excused": {"forked": 1}}


@pytest.mark.parametrize("reason, found", [("forked", {}), ("trimmed", {"out_of_order": 1})])
def test_ids_may_begin_anew_after_a_failover(reason: str, found: dict[str, Any]):
    """Order is that of ids between resets which say that Redis' clock is another one."""
    fate = Fate(lasting=False, excuses=[Excuse(reason, 0.0, Position(100))])
    found = {**found, "excused": {reason: 1}}

    assert counts(had(4, 9, reason, 6, 7), fate) == found


@pytest.mark.parametrize("possible, strangers", [(5, 0), (8, 1)])
def test_a_message_that_may_have_come_is_no_stranger(possible: int, strangers: int):
    """It is neither missed where it did not come, nor strange where it did."""
    verdict = Verdict()
    wanted = [emission(number) for number in (4, 6, 7, 9)]
    for events in (had(4, 6, 7, 9), had(4, 5, 6, 7, 9)):
        judge(verdict, "client", events, wanted, Fate(), possible=[emission(possible)])

    assert (verdict.lost, verdict.strangers) == (0, strangers)


#: Looks at Redis, of which the second lacks the message 4.
LOOKS = [(4.5, 4.8), (5.0, 5.5), (6.0, 6.5)]


@pytest.mark.parametrize(
    "asked, began, came",
    [
        # It was gone by the end of the second look, perhaps later than at its begin.
        ((5.2, 5.3), 3, True),
        ((5.6, 5.7), 3, False),
        # It is older than the stream.
        ((4.2, 4.3), 5, False),
        # It was still under way when the stream began, and a new master gave it an older id.
        ((3.0, 3.5), 5, True),
    ],
)
def test_a_client_may_have_what_redis_had_when_it_came(
    asked: tuple[float, float], began: int, came: bool
):
    """A message may come until a look at Redis begins after the last one that found it."""
    fate = Fate({emission(4).kept: 4.6}, lasting=False, looks=LOOKS)

    assert fate.may_have_come(emission(4), *asked, Position(began)) == came


@pytest.mark.parametrize("left_out, found", [(8, "true_resets"), (7, "false_resets")])
def test_a_reset_may_tell_of_what_the_application_leaves_out(left_out: int, found: str):
    """A worker cannot know that a callback would have skipped the message that was lost."""
    verdict = Verdict()
    events = had(4, 6, 7, "~8", "expired", 9)
    events[3] = events[3]._replace(id=Position(7))
    wanted = [emission(number) for number in (4, 6, 7, 9)]
    judge(verdict, "client", events, wanted, Fate(lasting=False), left_out=[emission(left_out)])

    assert getattr(verdict, found) == 1
