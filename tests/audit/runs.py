"""Compares what the viewers of a run had with what its producer wrote down.  Pure.

A page is judged by what it shows: after a `reset` it begins anew, and must show the whole run as
far as Redis still has it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from flask_redis_events.wire import BEGINNING, Position

from .fate import Fate, overlaps
from .verdict import LATE, Verdict

#: Seconds from a number being sent to its being written, while Redis answers.
WRITTEN = 1.0


class Saw(NamedTuple):
    """An event that a viewer received: numbers, the reason of a reset, or the state of an end."""

    at: float
    kind: str
    id: Position | None = None
    numbers: Sequence[int] = ()
    text: str = ""


@dataclass
class Play:
    """A run as its producer saw it, and what Redis knows of it at the end."""

    name: str
    #: When each number was about to be sent, as a Unix time.
    sent: dict[int, float] = field(default_factory=dict)
    #: As what it ended, and when; None if the producer was killed.
    state: str | None = None
    ended: float = math.inf
    #: What Redis says of it after the audit, and the numbers that are in its log.
    status: str = "pending"
    kept: Collection[int] = ()

    def exists(self, viewers: Iterable[Sequence[Saw]]) -> set[int]:
        """Return the numbers that every viewer must have."""
        if self.state in ("finished", "stopped", "failed"):
            return set(self.sent)
        shown = {number for saw in viewers for one in saw for number in one.numbers}
        # What was sent last may not have been written.
        return shown | set(self.kept)


def judge_run(verdict: Verdict, play: Play, viewers: Sequence[Sequence[Saw]], fate: Fate) -> None:
    """Count the differences for each viewer of one run."""
    wanted = play.exists(viewers)
    pages = [saw for saw in viewers if not _waits(play, saw, fate)]
    verdict.waiting += len(viewers) - len(pages)
    shown = {number for saw in viewers for one in saw for number in one.numbers}
    for index, saw in enumerate(pages):
        _judge(verdict, f"viewer {index} of {play.name}", play, saw, wanted, shown, fate)


def _judge(
    verdict: Verdict,
    name: str,
    play: Play,
    saw: Sequence[Saw],
    wanted: set[int],
    shown: set[int],
    fate: Fate,
) -> None:
    resets = [index for index, one in enumerate(saw) if one.kind == "reset"]
    page = on_page(saw)
    missed = sorted(wanted - set(page))
    end = next((one for one in saw if one.kind == "end"), None)
    told = [n for n in missed if any(saw[r].at >= play.sent.get(n, 0.0) for r in resets)]
    if end and end.text == "lost" and not fate.lasting:
        # It says that the last of what was sent may be missing.
        told += [n for n in missed if n > max(page, default=-1) and n not in told]
    silent = sorted(set(missed) - set(told))
    unseen = [n for n in silent if n not in shown and _may_be_unseen(play.sent.get(n, 0.0), fate)]
    # The failover may have lost what was written first and shown, so that it was written again.
    again = [n for part in _parts(saw) for n, m in pairwise(sorted(part)) if n == m]
    # Of a run that Redis has lost, nobody may have had a number.
    gone = play.state == "lost" and not fate.lasting and play.sent.keys() - {*page}
    true = set(resets) if told or gone else set()
    excused = {r for r in resets if r not in true and _excused(saw, r, fate)}
    found: dict[str, Sequence[object]] = {
        "lost": [n for n in silent if n not in unseen],
        "repeated": [n for n in again if not _may_be_unseen(play.sent.get(n, 0.0), fate)],
        "out_of_order": [n for part in _parts(saw) for m, n in pairwise(part) if n < m],
        "strangers": sorted(shown - set(play.sent)),
        "false_resets": [saw[r] for r in resets if r not in true and r not in excused],
        "stopped": [] if end or (saw and _is_forgotten(play, page, fate)) else [_lack(saw)],
        "wrong_ends": [end] if end and not _may_end_so(play, end, saw, wanted, fate) else [],
    }
    verdict.deliveries += sum(len(one.numbers) for one in saw)
    verdict.told += len(told)
    verdict.unseen += len(unseen)
    verdict.true_resets += len(true)
    verdict.excused.update(saw[r].text for r in excused)
    for kind, ids in found.items():
        setattr(verdict, kind, getattr(verdict, kind) + len(ids))
        verdict.note(kind.replace("_", " "), name, ids)
    if any(found.values()):
        sent = (
            f"sent {min(play.sent.items(), default=None)} to {max(play.sent.items(), default=None)}"
        )
        verdict.tell([f"{name}: {play.state} at {play.ended}, {play.status}", sent, *map(str, saw)])


def on_page(saw: Sequence[Saw]) -> list[int]:
    """Return the numbers that a page shows, which begins anew after a reset."""
    *_, part = _parts(saw)
    return part


def _parts(saw: Sequence[Saw]) -> Iterator[list[int]]:
    """Yield the numbers that a page showed from one reset to the next."""
    part: list[int] = []
    for one in saw:
        if one.kind == "reset":
            yield part
            part = []
        part += one.numbers
    yield part


def _may_be_unseen(sent: float, fate: Fate) -> bool:
    """Say whether a failover may have lost what was written then."""
    return overlaps((sent, sent + WRITTEN), fate.failovers)


def _excused(saw: Sequence[Saw], number: int, fate: Fate) -> bool:
    cursor, cursor_at = BEGINNING, 0.0
    for one in saw[:number]:
        if one.id not in (None, cursor):
            cursor, cursor_at = one.id, one.at
    return fate.excuses_reset(saw[number].text, saw[number].at, cursor, cursor_at)


def _lack(saw: Sequence[Saw]) -> str:
    return "no end" if saw else "no answer"


def _waits(play: Play, saw: Sequence[Saw], fate: Fate) -> bool:
    """Say whether a viewer came when Redis did not know the run, and waits for its begin."""
    if not saw or any(one.kind in ("reset", "end") for one in saw):
        return False
    return _is_forgotten(play, on_page(saw), fate)


def _is_forgotten(play: Play, page: Sequence[int], fate: Fate) -> bool:
    """Say whether a page shows nothing because Redis has lost the run, or it never began."""
    # Its producer may have been killed before.
    forgotten = not fate.lasting or play.state == "unknown" or not play.sent
    return forgotten and play.status == "pending" and not page


def _may_end_so(play: Play, end: Saw, saw: Sequence[Saw], wanted: set[int], fate: Fate) -> bool:
    if end.text == play.state:
        return True
    if play.state in (None, "unknown"):
        # It may have been killed when it had just written all.
        return end.text == "lost" or wanted == set(play.sent)
    told = any(one.kind == "reset" and one.at >= play.ended - LATE for one in saw)
    return not fate.lasting and (told or _may_be_unseen(play.ended - WRITTEN, fate))
