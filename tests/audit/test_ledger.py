"""The audit's ledger: it finds each kind of difference, so that a count of 0 means something."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flask_redis_events.wire import Position
from flask_redis_events.wire.sse import Event
from tests.audit.ledger import FORGED, Kept, Name, Record, data, expand, reconcile, shrink

ONE, TWO = Name("e", 1, "c"), Name("e", 2, "c")
BOTH = {ONE: {Position(1)}, TWO: {Position(2)}}


def kept(name: Name, *ids: int) -> list[Kept]:
    return [Kept(Position(id), name) for id in ids]


def counts(ledger: Any) -> dict[str, int]:
    values = {name: getattr(ledger, name) for name in vars(ledger) if name != "truth"}
    counted = {name: v if isinstance(v, int) else len(v) for name, v in values.items()}
    return {name: count for name, count in counted.items() if count}


@pytest.mark.parametrize(
    "id, found, expected",
    [
        ("1-0", kept(ONE, 1), {"acknowledged": 1}),
        ("1-0", kept(ONE, 1, 2), {"acknowledged": 1, "twice": 1}),
        ("1-0", [], {"acknowledged": 1, "unkept": 1}),
        ("1-0", kept(ONE, 3), {"acknowledged": 1, "unkept": 1, "twice": 1}),
        ("1-0", [*kept(ONE, 1), *kept(TWO, 2)], {"acknowledged": 1, "foreign": 1}),
        (None, [], {"failed": 1}),
        (None, kept(ONE, 1), {"failed": 1, "failed_kept": 1}),
        (None, kept(ONE, 1, 2), {"failed": 1, "failed_kept": 1, "twice": 1}),
    ],
)
def test_emitters_are_compared_with_redis(
    id: str | None, found: list[Kept], expected: dict[str, int]
):
    """Acknowledged messages must be in Redis once; failed ones may be there or not."""
    assert counts(reconcile([Record(*ONE, id)], found)) == expected


@pytest.mark.parametrize("lasting", [True, False])
def test_what_redis_lost_is_missed_by_clients(lasting: bool):
    """An acknowledged message counts as emitted, whether or not Redis has it."""
    ledger = reconcile([Record(*ONE, "1-0")], [], lasting=lasting)

    assert [emission.kept for emission in ledger.truth] == kept(ONE, 1)
    assert bool(ledger.unkept) == lasting


def test_a_client_proves_what_an_emitter_could_not_know():
    """If an emit raised and Redis has lost the message, a client that received it is believed."""
    proof = kept(ONE, 1)
    records = [Record(*ONE, None)]

    assert reconcile(records, [], received=proof, lasting=True).truth == []
    ledger = reconcile(records, [], received=proof, lasting=False)
    assert [emission.kept for emission in ledger.truth] == proof


@pytest.mark.parametrize("at, expected", [(2.0, "again"), (9.0, "twice")])
def test_an_emit_may_be_repeated_after_a_failover(at: float, expected: str):
    """A message is published again only if the first one was lost with a master meanwhile."""
    records = [Record(*ONE, "2-0", at, at + 1)]
    ledger = reconcile(
        records, kept(ONE, 1), received=kept(ONE, 1), failovers=[(1.0, 4.0)], lasting=False
    )

    assert counts(ledger) == {"acknowledged": 1, expected: 1}


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
    assert [each.kind for each in expand([(0.0, event)], BOTH, gathered=gathered)] == kinds


def test_messages_that_ran_into_each_other_are_seen():
    """Mixed bytes of two messages raise, because each has its own filling."""
    whole: dict[str, Any] = data(ONE, 5)
    assert json.loads(shrink(Event("message", json.dumps(whole), "")).data) == [list(ONE)]

    with pytest.raises(ValueError, match="of another message"):
        shrink(Event("message", json.dumps({**whole, "filling": "aabbb"}), ""))


@pytest.mark.parametrize("text", [FORGED, f':1-0 - {FORGED}\nid: 1-0\ndata: "x"'])
def test_forged_data_is_no_message(text: str):
    """Text that another program published is data of that program."""
    assert shrink(Event("message", text, "")).event == "forged"
