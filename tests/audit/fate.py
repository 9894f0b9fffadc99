"""What a perfect observer knows: until when Redis had each message, and why it may tell of more.

A `reset` is true if the client has missed a message that Redis had lost by then.  Any other is a
false one.  Some of these cannot be avoided, because Redis has lost what would have shown that the
client missed nothing; `docs/reliability.rst` lists them, and an `Excuse` names the moment of each.
Pure.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from flask_redis_events.wire import Position

#: Seconds before a reset in which the client can have received its position.
RECENT = 15
#: From and until, as Unix times.
Window = tuple[float, float]


class Excuse(NamedTuple):
    """Redis lost what proves that a client missed nothing: one that had not come to `mark`."""

    reason: str
    at: float
    mark: Position


@dataclass
class Fate:
    """What became of the messages on Redis.  Keys are messages under their ids."""

    #: Until when Redis had a message for certain, as a Unix time; in a lasting world for ever.
    seen: Mapping[Any, float] = field(default_factory=dict)
    lasting: bool = True
    excuses: list[Excuse] = field(default_factory=list)
    #: When a master was cut off from its replica, and when the replica was the master.
    failovers: list[Window] = field(default_factory=list)
    #: Seconds for which silence is proven.
    silence: float = math.inf
    #: Messages that some client received.
    received: Collection[Any] = ()
    #: By how many seconds a client on an open stream received a message late, in each second.
    lags: Mapping[int, float] = field(default_factory=dict)
    #: When somebody looked at all messages on Redis, in order.
    looks: Sequence[Window] = ()

    def had_until(self, kept: Any) -> float:
        return math.inf if self.lasting else self.seen.get(kept, 0.0)

    def describe(self, emission: Any) -> str:
        """Say what became of a message, for the story of a client that lacks it."""
        until, had = self.had_until(emission.kept), emission.kept in self.received
        return f"Redis had it until {until:.3f}, and {'some' if had else 'no'} client received it."

    def gone_by(self, emission: Any) -> float:
        """Return when Redis had lost a message for certain: at the end of a look without it."""
        last = max(emission.ended, self.had_until(emission.kept))
        later = bisect_right(self.looks, last, key=lambda look: look[0])
        return self.looks[later][1] if later < len(self.looks) else math.inf

    def may_have_come(
        self, emission: Any, asked_at: float, began_at: float, began: Position
    ) -> bool:
        """Say whether a client may have a message that it need not have.

        It asked for its stream, which then began at a position.
        """
        if self.gone_by(emission) < asked_at:
            return False
        # After a failover, what was under way when the stream began may have an older id.
        return bool(emission.id > began or emission.ended >= began_at)

    def may_be_unseen(self, emission: Any) -> bool:
        """Say whether a failover lost the message before any client showed that it existed."""
        if emission.kept in self.received:
            return False
        window = (emission.began, emission.ended)
        return any(
            overlaps(window, [failover]) and self.had_until(emission.kept) <= failover[1]
            for failover in self.failovers
        )

    def failed_over(self, emission: Any) -> float:
        """Return when the failover was over in which a message was emitted; 0 if there was none."""
        window = (emission.began, emission.ended)
        return max(
            (end for begin, end in self.failovers if overlaps(window, [(begin, end)])), default=0.0
        )

    def excuses_reset(self, reason: str, at: float, cursor: Position, cursor_at: float) -> bool:
        """Say whether a reset that is not true could not be avoided.

        `cursor` is the id that the client had, since `cursor_at`.
        """
        # Of a channel's first message after that silence only a bound of its `prev` is known.
        if reason in ("expired", "trimmed") and at - cursor_at > self.silence - self._lag(at):
            return True
        return any(
            excuse.reason == reason and excuse.at <= at and cursor < excuse.mark
            for excuse in self.excuses
        )

    def _lag(self, at: float) -> float:
        """Return how old a position may have been when a client received it, before a moment.

        On a busy machine a worker, or the audit itself, comes late to what Redis has sent.
        """
        return max(self.lags.get(int(at) - ago, 0.0) for ago in range(RECENT))


def overlaps(one: Window, others: Collection[Window]) -> bool:
    return any(one[0] <= until and since <= one[1] for since, until in others)


def worst(lags: Iterable[tuple[float, float]]) -> dict[int, float]:
    """Return the longest lag of each second."""
    worst: dict[int, float] = {}
    for at, lag in lags:
        worst[int(at)] = max(lag, worst.get(int(at), 0.0))
    return worst
