"""Did a client miss messages that are gone, and why (its `reset`)?  Pure, for both brokers.

A broker only reports what it found of each channel's history.  Whether a client's cursor is covered
by that is decided here, so that Redis and memory:// make the same promise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..wire import BEGINNING, Message, Position


class Held(NamedTuple):
    """The part of one channel's history that a broker found."""

    channel: str
    #: Ordered by id; only messages after the cursor, if the replay was given one.
    messages: Sequence[Message] = ()
    #: The id of the channel's last kept message; None if that is not known any more, because the
    #: message is older than the horizon, was evicted, or never existed.
    last: Position | None = None
    #: A moment after which nothing of the channel was kept, as the index of channels has it; None
    #: if the index does not know the channel.
    until: Position | None = None


class State(NamedTuple):
    """What a broker knows of all its channels at the moment of a replay."""

    #: The last id given out.
    clock: Position
    #: The position at which the clock began.
    created: Position
    #: The last ids of all channels are known from here on: a channel without one was silent since.
    horizon: Position
    #: The index of channels is complete from here on.
    indexed: Position
    #: What was kept after this has not expired.
    kept_since: Position
    #: Positions before this may lack messages that a failover lost.
    forked: Position | None = None
    #: So may later ones up to this, as the new master gave them out before a worker had found out.
    noted: Position | None = None


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
    #: Where the clock began: data of another beginning are other data.
    created: Position | None = None
    #: Positions before this may lack messages that a failover lost.
    forked: Position | None = None
    #: Whether Redis lacks the witness of the replay.
    lacks_witness: bool = False
    #: Channel -> id of its last kept message, if a replay was asked for those.
    latest: Mapping[str, Position] = field(default_factory=dict)

    @property
    def reason(self) -> str | None:
        """One reason why the cursor is not covered; None if it is."""
        return next((reason for _, reason in self.lost.values()), None)


def snapshot(
    state: State,
    held: Iterable[Held],
    *,
    after: Position | None,
    last: int = 0,
    patterns: bool = False,
) -> Snapshot:
    """Merge the channels' histories, and judge whether they cover the cursor `after`.

    A cursor is covered if no message that followed it is missing.  Without a cursor, return the
    `last` newest messages.
    """
    found = list(held)
    clock = state.clock
    # History has an id for every message; `or clock` only satisfies the type checker.
    messages = sorted((m for one in found for m in one.messages), key=lambda m: m.id or clock)
    # What was emitted while history was read arrives live.
    messages = [message for message in messages if message.id is None or message.id <= clock]
    if after is None:
        messages = messages[-last:] if last else []
        return Snapshot(clock, messages, {}, state.created, state.forked)
    lost = _judge_all(state, after)
    if after > clock:
        messages = []
    if not lost:
        for one in found:
            verdict = _judge(one, after, state)
            if verdict is not None:
                lost[one.channel] = verdict
        if patterns and (verdict := _judge_unknown(after, state)) is not None:
            # A pattern finds channels in the index only; others may have been created and expired.
            lost[""] = verdict
    return Snapshot(clock, messages, lost, state.created, state.forked)


def too_much(state: State) -> Snapshot:
    """Return the snapshot for a cursor after which there is more than may be read."""
    lost = {"": (state.clock, "too much")}
    return Snapshot(state.clock, [], lost, state.created, state.forked)


def is_missing(witness: Position, held: Held, oldest: Message | None, state: State) -> bool:
    """Say whether a kept message is missing, so that a replica without it became the master.

    `held` has the newest message up to the witness, if there is any, and `oldest` is the oldest
    message of the channel's history.
    """
    if held.messages:
        # An older one is still there, or it is the witness itself.
        return held.messages[-1].id != witness
    if held.last is not None and held.last <= witness:
        # Either the channel lacks the witness, or its history is gone as a whole.
        return held.last < witness
    if oldest is not None:
        # The history was trimmed, or begins anew; in both cases it knows what came before.
        return oldest.prev is not None and oldest.prev < witness
    if held.last is not None or _judge_unknown(witness, state) is not None:
        return False
    # Redis would know the channel, as the witness is young enough.
    return held.until is None or held.until <= witness


def _judge_all(state: State, after: Position) -> dict[str, tuple[Position, str]]:
    """Return why no channel is covered, or {}."""
    if after > state.clock:
        # Redis gave this id out, and has lost the time since, as when a lagging replica takes over.
        return {"": (after, "rolled back")}
    if after < state.created:
        # The clock is younger than the cursor, so all of Redis' data was deleted in between.
        return {"": (state.created, "flushed")}
    if state.forked is not None and after != state.forked:
        # A client at that very position had all that was lost.
        until = max(state.forked, state.noted or BEGINNING)
        if after < until:
            return {"": (until, "forked")}
    return {}


def _judge(one: Held, after: Position, state: State) -> tuple[Position, str] | None:
    """Return the position up to which the channel has lost messages, and why; None if none are."""
    if one.messages:
        return _judge_chain(one.messages, after)
    if one.last is not None:
        if one.last <= after:
            # Nothing newer than the cursor was kept, however long ago that is.
            return None
        return one.last, "expired" if one.last < state.kept_since else "evicted"
    if one.until is not None and one.until > after:
        return one.until, "expired" if one.until <= state.horizon else "evicted"
    return _judge_unknown(after, state)


def _judge_chain(messages: Sequence[Message], after: Position) -> tuple[Position, str] | None:
    """Judge by the predecessor that each message names: if that is newer, it is missing.

    The history's length limit has deleted it, or Redis had evicted the history before.  It may
    also have happened between two steps of the reading.
    """
    lost = None
    for message in messages:
        if message.prev is not None and message.prev > after:
            lost = (message.prev, "trimmed")
        after = message.id or after
    return lost


def _judge_unknown(after: Position, state: State) -> tuple[Position, str] | None:
    """Judge channels of which Redis knows nothing: were they silent since the cursor?"""
    if after < state.horizon:
        return state.horizon, "expired"
    if after < state.indexed:
        return state.indexed, "evicted"
    return None
