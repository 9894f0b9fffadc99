"""Compares the messages that a client should have received with those it received.  Pure."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise

from flask_redis_events.channels import Channel, matches
from flask_redis_events.wire import BEGINNING, Position

from .fate import Fate
from .ledger import Emission, Had, Kept

#: Seconds after a client has passed a lost message in which it must have been told: what a worker
#: takes that learns of a failover from another one.  They begin when the failover is over, because
#: a worker that stayed with a master that was cut off finds out when that one becomes a replica.
LATE = 10.0
#: How many details and stories are kept.
MOST = 20
#: After these, ids may begin anew.
ANEW = {"flushed", "rolled back", "forked"}
#: What a verdict has that is no fault.
SOUND = {
    *("deliveries", "told", "unseen", "true_resets", "excused", "forged", "waiting"),
    *("details", "stories"),
}


@dataclass
class Verdict:
    """Counts over all clients; `details` shows the first of each kind."""

    deliveries: int = 0
    #: Not received, and Redis had lost it: the client got a `reset`.
    told: int = 0
    #: Not received, because a failover lost it, and no worker can have known that it existed.
    unseen: int = 0
    #: Resets of clients that missed something which Redis had lost.
    true_resets: int = 0
    #: Resets of clients that missed nothing, where nobody could know that, by reason.
    excused: Counter[str] = field(default_factory=Counter)
    #: Data of other programs, which are not the package's.
    forged: int = 0
    #: Not received, and nobody told the client.
    lost: int = 0
    repeated: int = 0
    out_of_order: int = 0
    #: Received, but not emitted, or not for this client.
    strangers: int = 0
    #: Received under another id than `emit` returned.
    damaged: int = 0
    #: Control frames with an older id than the client had, so that a resume would repeat messages.
    cursor_back: int = 0
    #: Resets that a perfect observer would not have sent.
    false_resets: int = 0
    #: Streams that were refused, ended for good, or never began; those of a run that did not end.
    stopped: int = 0
    #: Streams of a run that ended as something else than the run.
    wrong_ends: int = 0
    #: Viewers of a run that has not begun, or that Redis had lost before they came.
    waiting: int = 0
    details: list[str] = field(default_factory=list)
    stories: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not any(getattr(self, each.name) for each in fields(self) if each.name not in SOUND)

    def note(self, kind: str, name: str, ids: Sequence[object]) -> None:
        if ids and len(self.details) < MOST:
            self.details.append(f"{kind}, {name}: {len(ids)}, first {ids[0]}, last {ids[-1]}")

    def tell(self, story: Sequence[str]) -> None:
        """Add the story of a client that lost a message, if there are not too many."""
        if len(self.stories) < MOST:
            self.stories.append("\n".join(story))


def expected(truth: Iterable[Emission], asked: Sequence[str]) -> list[Emission]:
    """Return all messages on some channels and patterns, in order."""
    heard = [Channel.parse(name) for name in asked]

    def hears(name: str) -> bool:
        return any(
            matches(channel.name, name) if channel.pattern else channel.name == name
            for channel in heard
        )

    return sorted(emission for emission in truth if hears(emission.kept.name.channel))


def judge(
    verdict: Verdict,
    name: str,
    events: Sequence[Had],
    wanted: Sequence[Emission],
    fate: Fate,
    *,
    left_out: Sequence[Emission] = (),
    possible: Sequence[Emission] = (),
) -> list[float]:
    """Count the differences between expected and received messages; return when they happened.

    Messages that the application would have `left_out` are not missed, but a reset that tells of
    them is true.  Those that are `possible` may have come or not, because Redis lost them just when
    the client came.
    """
    got = [
        Kept(had.id, had.name) for had in events if had.kind == "message" and had.id and had.name
    ]
    seen = set(got)
    missed = [emission for emission in wanted if emission.kept not in seen]
    silent, true = _untold(missed, events, fate)
    true |= _untold(left_out, events, fate, late=None)[1]
    unseen = [emission for emission in silent if fate.may_be_unseen(emission)]
    lost = [emission for emission in silent if emission not in unseen]
    false = {index for index, had in enumerate(events) if had.kind == "reset"} - true
    excused = {index for index in false if _excused(index, events, fate)}
    wrong = [events[index] for index in sorted(false - excused)]
    strange = seen - {emission.kept for emission in [*wanted, *possible]}
    found: dict[str, Sequence[object]] = {
        "lost": lost,
        "repeated": [one for one, count in Counter(got).items() for _ in range(count - 1)],
        "out_of_order": list(_disorder(events)),
        "strangers": sorted(strange),
        "damaged": [had.data for had in events if had.kind == "damaged"],
        "cursor_back": list(_back(events)),
        "false_resets": wrong,
    }
    verdict.deliveries += len(got)
    verdict.told += len(missed) - len(silent)
    verdict.unseen += len(unseen)
    verdict.true_resets += len(true)
    verdict.excused.update(_reason(events[index]) for index in excused)
    verdict.forged += sum(had.kind == "forged" for had in events)
    for kind, ids in found.items():
        setattr(verdict, kind, getattr(verdict, kind) + len(ids))
        verdict.note(kind.replace("_", " "), name, ids)
    if lost:
        verdict.tell([f"{name} lacks {lost[0]}", fate.describe(lost[0])])
    odd = [*wrong, *(had for had in events if (had.id, had.name) in strange)]
    return [*(emission.ended for emission in lost), *(had.at for had in odd)]


def _reason(reset: Had) -> str:
    return str(json.loads(reset.data)["reason"])


def _untold(
    missed: Sequence[Emission], events: Sequence[Had], fate: Fate, *, late: float | None = LATE
) -> tuple[list[Emission], set[int]]:
    """Return the missed messages of which no reset tells, and which resets are true.

    With None, a reset tells of no message that the client has passed.
    """
    times = [had.at for had in events]
    resets = [(index, had) for index, had in enumerate(events) if had.kind == "reset"]
    silent: list[Emission] = []
    true: set[int] = set()
    for emission in missed:
        start = bisect_left(times, emission.began)
        passed = next(
            (had.at for had in events[start:] if had.id is not None and had.id >= emission.id),
            float("inf"),
        )
        until = passed if late is None else max(passed, fate.failed_over(emission)) + late
        telling = [one for one in resets if one[0] >= start and one[1].at <= until]
        if not telling:
            silent.append(emission)
        gone_at = fate.had_until(emission.kept)
        true.update(
            # A shared callback on a busy machine drops what Redis still has.
            index
            for index, had in telling
            if gone_at <= had.at or _reason(had) == "overflow"
        )
    return silent, true


def _excused(number: int, events: Sequence[Had], fate: Fate) -> bool:
    reset = events[number]
    cursor, cursor_at = BEGINNING, 0.0
    for had in events[:number]:
        # Except for the first, a stream's `ready` repeats the id with which the client came.
        # An event without an id has that of the event before it.
        if had.id not in (None, cursor) and (had.kind != "ready" or cursor == BEGINNING):
            cursor, cursor_at = had.id, had.at
    return fate.excuses_reset(_reason(reset), reset.at, cursor, cursor_at)


def _runs(events: Sequence[Had]) -> Iterator[list[Had]]:
    """Yield the events with ids between resets after which ids may begin anew."""
    run: list[Had] = []
    for had in events:
        if had.kind == "reset" and _reason(had) in ANEW:
            # The `ready` of this connection comes before its reset.
            first = [run.pop()] if run and run[-1].kind == "ready" else []
            yield run
            run = first
        elif had.id is not None:
            run.append(had)
    yield run


def _disorder(events: Sequence[Had]) -> Iterator[Position | None]:
    for run in _runs(events):
        messages = [had.id or BEGINNING for had in run if had.kind == "message"]
        yield from (later for earlier, later in pairwise(messages) if later < earlier)


def _back(events: Sequence[Had]) -> Iterator[Position]:
    """Yield the ids of control frames that are older than an id that came before them."""
    for run in _runs(events):
        most = BEGINNING
        for had in run:
            id = had.id or BEGINNING
            if id < most and had.kind not in ("message", "damaged"):
                yield id
            most = max(most, id)
