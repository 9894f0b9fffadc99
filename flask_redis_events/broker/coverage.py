"""Did a client miss messages that are gone, and why (its `reset`)?  Pure, for both brokers.

A broker only reports what it found of each channel's history.  Whether a client's cursor is covered
by that is decided here, so that Redis and memory:// make the same promise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..wire import Message, Position


class Held(NamedTuple):
    """The part of one channel's history that a broker found."""

    channel: str
    #: Ordered by id; only messages after the cursor, if the replay was given one.
    messages: Sequence[Message]
    #: Whether Redis still has a history of this channel.  Redis deletes it after the TTL, and may
    #: evict it earlier, when memory is short.
    exists: bool = True
    #: When the channel's last message was kept, to the millisecond.  None if the broker does not
    #: know; it is only needed where the history is gone.
    latest: Position | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """History as it stood at one moment, and whether it covers the cursor."""

    #: The last id given out at that moment; newer messages arrive live.
    clock: Position
    #: The messages after the cursor, on all the channels asked for, ordered by id.
    messages: list[Message]
    #: Channel -> (position, reason): messages after the cursor and up to the position are gone.
    #: The channel "" stands for all channels.
    lost: Mapping[str, tuple[Position, str]]
    #: The last message that is known to have been lost in a failover, in which a replica without
    #: that message became the master.
    forked: Position | None = None

    @property
    def reason(self) -> str | None:
        """One reason why the cursor is not covered; None if it is."""
        return next((reason for _, reason in self.lost.values()), None)


def snapshot(
    clock: Position,
    held: Iterable[Held],
    *,
    created: Position,
    horizon: Position,
    after: Position | None,
    last: int = 0,
    patterns: bool = False,
    forked: Position | None = None,
) -> Snapshot:
    """Merge the channels' histories, and judge whether they cover the cursor `after`.

    A cursor is covered if no message that followed it is missing.  Without a cursor, return the
    `last` newest messages.

    `created` is the position at which Redis' clock began.  `horizon` is the moment one TTL ago: a
    message that was kept after it cannot have expired, so a history that does not exist proves
    that the channel has been silent since the horizon, but says nothing of the time before.
    """
    found = list(held)
    # History has an id for every message; `or created` only satisfies the type checker.
    messages = sorted((m for one in found for m in one.messages), key=lambda m: m.id or created)
    if after is None:
        return Snapshot(clock, messages[-last:] if last else [], {})
    if after > clock:
        # Redis gave this id out, and has lost the time since, as when a lagging replica takes over.
        return Snapshot(clock, [], {"": (after, "rolled back")})
    if after < created:
        # The clock is younger than the cursor, so all of Redis' data was deleted in between.
        return Snapshot(clock, messages, {"": (created, "flushed")})
    lost: dict[str, tuple[Position, str]] = {}
    if forked is not None and after < forked:
        return Snapshot(clock, messages, {"": (forked, "forked")}, forked)
    for one in found:
        verdict = _judge(one, after, horizon)
        if verdict is not None:
            lost[one.channel] = verdict
    if patterns and after < horizon:
        # A pattern only finds channels that still exist; others may have been created and expired.
        lost[""] = (horizon, "expired")
    return Snapshot(clock, messages, lost, forked)


def _judge(one: Held, after: Position, horizon: Position) -> tuple[Position, str] | None:
    """Return the position up to which the channel has lost messages, and why; None if none are."""
    if one.messages:
        # The first message names its predecessor.  If that is newer than the cursor, it is missing:
        # the history's length limit has deleted it, or Redis had evicted the history before.
        prev = one.messages[0].prev
        return (prev, "trimmed") if prev is not None and prev > after else None
    if one.exists:
        # Nothing newer than the cursor was kept.
        return None
    # Within its TTL a key can only disappear by eviction (or by hand).
    if one.latest is not None and one.latest.outlives(max(after, horizon), 1):
        return one.latest, "evicted"
    return (horizon, "expired") if after < horizon else None
