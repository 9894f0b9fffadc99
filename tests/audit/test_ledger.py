"""The audit's ledger: it finds each kind of difference, so that a count of 0 means something."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flask_redis_events.wire import Position
from flask_redis_events.wire.sse import Event
from tests.audit.ledger import Kept, Name, Record, data, expand, reconcile, shrink
from tests.audit.verdict import Verdict, judge

ONE, TWO = Name("e", 1, "c"), Name("e", 2, "c")
BOTH = {ONE: Position(1), TWO: Position(2)}


def kept(name: Name, *ids: int) -> list[Kept]:
    return [Kept(Position(id), name) for id in ids]


@pytest.mark.parametrize(
    "id, found, counts",
    [
        ("1-0", kept(ONE, 1), {"acknowledged": 1}),
        ("1-0", kept(ONE, 1, 2), {"acknowledged": 1, "twice": 1}),
        ("1-0", [], {"acknowledged": 1, "unkept": 1}),
        ("1-0", kept(ONE, 3), {"acknowledged": 1, "unkept": 1}),
        ("1-0", [*kept(ONE, 1), *kept(TWO, 2)], {"acknowledged": 1, "foreign": 1}),
        (None, [], {"failed": 1}),
        (None, kept(ONE, 1), {"failed": 1, "failed_kept": 1}),
        (None, kept(ONE, 1, 2), {"failed": 1, "failed_kept": 1, "twice": 1}),
    ],
)
def test_emitters_are_compared_with_redis(
    id: str | None, found: list[Kept], counts: dict[str, int]
):
    """Acknowledged messages must be in Redis once; failed ones may be there or not."""
    ledger = reconcile([Record(*ONE, id)], found)
    values = {name: getattr(ledger, name) for name in vars(ledger) if name != "truth"}
    counted = {name: v if isinstance(v, int) else len(v) for name, v in values.items()}

    assert {name: count for name, count in counted.items() if count} == counts


def test_what_redis_lost_is_missed_by_clients():
    """An acknowledged message counts as emitted, whether or not Redis has it."""
    assert reconcile([Record(*ONE, "1-0")], []).truth == kept(ONE, 1)


def received(*names: Name, id: str) -> Event:
    return Event("message", json.dumps(names), id)


@pytest.mark.parametrize(
    "event, gathered, kinds",
    [
        (received(ONE, id="1-0"), False, ["message"]),
        (received(ONE, id="2-0"), False, ["damaged"]),
        (received(Name("e", 3, "c"), id="3-0"), False, ["damaged"]),
        (received(ONE, TWO, id="2-0"), True, ["message", "message"]),
        (received(ONE, TWO, id="1-0"), True, ["damaged", "damaged"]),
    ],
)
def test_an_id_is_that_of_its_message(event: Event, gathered: bool, kinds: list[str]):
    """An event with the id of another message is damaged, because it moves the cursor wrongly."""
    assert [each.event for each in expand([event], BOTH, gathered=gathered)] == kinds


def test_messages_that_ran_into_each_other_are_seen():
    """Mixed bytes of two messages raise, because each has its own filling."""
    whole: dict[str, Any] = data(ONE, 5)
    assert json.loads(shrink(Event("message", json.dumps(whole), "")).data) == [list(ONE)]

    with pytest.raises(ValueError, match="of another message"):
        shrink(Event("message", json.dumps({**whole, "filling": "aabbb"}), ""))


@pytest.mark.parametrize("id, count", [("1-0", 1), ("2-0", 0), ("3-0", 0), ("", 0)])
def test_a_cursor_that_goes_back_is_seen(id: str, count: int):
    """A control frame with an earlier id is counted, because the client would repeat messages."""
    verdict = Verdict()
    events = [received(ONE, id="1-0"), received(TWO, id="2-0"), Event("heartbeat", "{}", id)]
    judge(verdict, "client", events, [Position(1), Position(2)])

    assert (verdict.cursor_back, verdict.clean) == (count, not count)
