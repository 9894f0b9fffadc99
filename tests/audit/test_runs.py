"""The judgement of runs: each fault of a viewer's stream is counted, and no other."""

from __future__ import annotations

from typing import Any

import pytest

from flask_redis_events.wire import Position
from tests.audit.fate import Excuse, Fate
from tests.audit.producing import numbers, piece
from tests.audit.runs import Play, Saw, judge_run
from tests.audit.verdict import Verdict

UNCOUNTED = ("deliveries", "details", "stories")
#: When numbers 0 to 3 were sent, and when the run ended.
SENT = {number: 10.0 + number for number in range(4)}
ENDED = 14.0
LASTING, LOSING = Fate(), Fate(lasting=False)


def seen(*items: int | str) -> list[Saw]:
    """Return events: a number, "!reason" for a reset, or the state of the end.

    A number comes half a second after it was sent; everything else half a second after that.
    """
    saw = [Saw(9.0, "ready", Position(9))]
    for item in items:
        if isinstance(item, int):
            at = max(SENT.get(item, 0.0) + 0.5, saw[-1].at)
            saw.append(Saw(at, "message", Position(10 + item), [item]))
        elif item.startswith("!"):
            saw.append(Saw(saw[-1].at + 0.5, "reset", text=item[1:]))
        else:
            saw.append(Saw(max(ENDED, saw[-1].at), "end", text=item))
    return saw


def counts(play: Play, fate: Fate, *viewers: list[Saw]) -> dict[str, Any]:
    verdict = Verdict()
    judge_run(verdict, play, viewers, fate)
    return {name: v for name, v in vars(verdict).items() if name not in UNCOUNTED and v}


def finished() -> Play:
    return Play("run-1", dict(SENT), "finished", ENDED, "finished", [0, 1, 2, 3])


def killed(status: str = "lost") -> Play:
    return Play("run-1", dict(SENT), status=status)


ALL = (0, 1, 2, 3, "finished")


@pytest.mark.parametrize(
    "fate, items, found",
    [
        (LASTING, ALL, {}),
        (LASTING, (0, 1, 3, "finished"), {"lost": 1}),
        (LASTING, (0, 1, 2, "finished"), {"lost": 1}),
        (LASTING, (0, 1, 1, 2, 3, "finished"), {"repeated": 1}),
        # What a failover lost after it was shown is written again.
        (Fate(lasting=False, failovers=[(11.5, 15)]), (0, 1, 1, 2, 3, "finished"), {}),
        (Fate(lasting=False, failovers=[(12.5, 15)]), (0, 1, 1, 2, 3, "finished"), {"repeated": 1}),
        (LASTING, (0, 2, 1, 3, "finished"), {"out_of_order": 1}),
        (LASTING, (*ALL[:4], 9, "finished"), {"strangers": 1}),
        (LASTING, ALL[:4], {"stopped": 1}),
        (LASTING, (*ALL[:4], "lost"), {"wrong_ends": 1}),
        (LASTING, (0, 1, "!flushed", *ALL), {"false_resets": 1}),
        (LOSING, (0, 1, "!flushed", *ALL), {"false_resets": 1}),
        # What Redis has lost is told, and nothing else.
        (LOSING, (0, 1, "!flushed", 2, 3, "finished"), {"told": 2, "true_resets": 1}),
        (LOSING, (0, "!flushed", 1, 3, "finished"), {"told": 1, "lost": 1, "true_resets": 1}),
        (LOSING, (*ALL[:4], "!flushed"), {"stopped": 1, "told": 4, "true_resets": 1}),
        (LOSING, (*ALL[:4], "!flushed", "lost"), {"told": 4, "true_resets": 1}),
    ],
)
def test_each_fault_is_counted_once(fate: Fate, items: Any, found: dict[str, int]):
    """For a viewer of a run that has finished."""
    assert counts(finished(), fate, seen(*items)) == found


def test_viewers_of_a_killed_producer_agree():
    """What one of them had, all have; what nobody had was not written."""
    assert counts(killed(), LASTING, seen(0, 1, "lost"), seen(0, 1, "lost")) == {}
    assert counts(killed(), LASTING, seen(0, 1, 2, "lost"), seen(0, 1, "lost")) == {"lost": 1}
    # It was killed when it had just written the end.
    assert counts(killed(), LASTING, seen(*ALL)) == {}
    assert counts(killed(), LASTING, seen(0, 1, 2, "finished")) == {"wrong_ends": 1}


def test_a_run_may_be_forgotten():
    """Redis lost it: who comes then waits for a run that has not begun, and who was there knows."""
    told = {"told": 4, "true_resets": 1}
    viewers = seen(*ALL[:4], "!flushed"), seen()

    assert counts(killed("pending"), LOSING, *viewers) == {**told, "waiting": 1}
    assert counts(killed("pending"), LASTING, seen()) == {"stopped": 1}
    # This one never began.
    assert counts(Play("run-1"), LASTING, seen()) == {"waiting": 1}
    assert counts(killed("pending"), LOSING, seen(0, 1)) == {"stopped": 1}
    # This viewer waits for an answer.
    assert counts(Play("run-1"), LASTING, []) == {"stopped": 1}


def test_a_run_may_be_lost_before_anybody_had_any_of_it():
    """Its viewers are told."""
    play = Play("run-1", dict(SENT), "lost", ENDED, "lost")

    assert counts(play, LOSING, seen("!flushed", "lost")) == {"true_resets": 1}
    assert counts(play, LASTING, seen("!flushed", "lost")) == {"false_resets": 1}


def test_a_failover_may_lose_what_nobody_had():
    """Also the end, after which the run is lost."""
    fate = Fate(lasting=False, failovers=[(13.1, 15.0)])

    assert counts(finished(), fate, seen(0, 1, 2, "finished")) == {"unseen": 1}
    assert counts(finished(), fate, seen(0, 1, "finished")) == {"unseen": 1, "lost": 1}
    # This end says so.
    assert counts(finished(), fate, seen(0, 1, "lost")) == {"told": 2}
    assert counts(finished(), fate, seen(0, 2, "lost")) == {"told": 1, "lost": 1}


def test_a_reset_is_excused_by_its_reason():
    """As on any stream."""
    fate = Fate(lasting=False, excuses=[Excuse("forked", 5.0, Position(12))])

    assert counts(finished(), fate, seen(0, "!forked", *ALL)) == {"excused": {"forked": 1}}
    assert counts(finished(), fate, seen(0, 1, 2, "!forked", *ALL)) == {"false_resets": 1}


def test_a_number_is_a_piece_or_stands_for_itself():
    """`numbers` reads what `piece` wrote, also after pieces were joined."""
    assert [numbers(piece(number)) for number in range(4)] == [[0], [1], [2], [3]]
    assert numbers(piece(1) + piece(2)) == [1, 2]
