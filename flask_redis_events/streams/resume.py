"""Where a stream begins: now, after the id that a browser came back with, or a few messages ago.

`ready` carries a position before the history that follows it, so that a client which loses the
connection in between gets all of it again.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable
from typing import NamedTuple

from ..broker.coverage import Snapshot
from ..channels import Channel
from ..clients import Finite, Subscription
from ..hub import Hub
from ..wire import BEGINNING, Batch, Message, Position, control, parts
from ..wire.run import BEGUN, comes_to, end_of, joined, marker


class Beginning(NamedTuple):
    """What `ready` says, and what follows it before anything live."""

    position: Position | None = None
    floor: Position | None = None
    batches: Iterable[Batch] = ()


class Asked(NamedTuple):
    """A subscription that is live and held, the id that its client came with, and its backlog."""

    hub: Hub
    subscription: Subscription
    channels: frozenset[Channel]
    last_event_id: str | None = None
    #: How many of the channels' last messages a first connect gets, or their "state", or "all" of
    #: a run.
    backlog: int | str = 0

    @property
    def after(self) -> Position | None:
        """Where the client has got to; None of a new one, or of an id that is none of ours."""
        return Position.parse(self.last_event_id) if self.last_event_id else None

    def history(self, after: Position | None) -> Snapshot:
        """Return what the channels have after a position; their values if it is None."""
        return self.hub.replays.after(self.subscription, self.channels, after)


def begin_at_once(asked: Asked) -> Beginning | None:
    """Find where a subscription begins; None if Redis has to be asked."""
    hub, subscription, now = asked.hub, asked.subscription, asked.subscription.floor
    after = asked.after if subscription.numbered else None
    if after is not None and asked.backlog != "all":
        remembered = hub.replays.from_memory(asked.channels, after)
        return None if remembered is None else _resume(hub, after, remembered)
    if isinstance(asked.backlog, str):
        return None
    if asked.last_event_id and not hub.broker.numbered:
        # The client got its id while there was a history.
        return _reset(hub, "no history", None, now)
    if not subscription.numbered:
        return Beginning(None, now)
    if asked.last_event_id:
        return _reset(hub, "unknown id", now, now)
    return None if asked.backlog or subscription.subscribed_at is not None else Beginning(now, now)


def begin_from_redis(asked: Asked) -> Beginning:
    """Ask Redis for the same; may raise `BrokerError`, and may take as long as Redis does."""
    begin = {"all": _with_all, "state": _with_state}.get(str(asked.backlog), _with_history)
    return begin(asked)


def _with_history(asked: Asked) -> Beginning:
    """Begin after what the client has had; with some messages, or with none, if it is new."""
    hub, channels = asked.hub, asked.channels
    if (after := asked.after) is not None:
        return _resume(hub, after, asked.history(after))
    if isinstance(asked.backlog, int) and asked.backlog:
        return _with_backlog(hub, hub.replays.last(channels, asked.backlog))
    # This worker may lag behind the moment of the SUBSCRIBE, and what was emitted in between is not
    # promised.
    now = hub.replays.now(asked.subscription, channels)
    return Beginning(now, now)


def _reset(hub: Hub, reason: str, position: Position | None, floor: Position | None) -> Beginning:
    hub.reports.reset(reason)
    return Beginning(position, floor, (control.reset(reason),))


def _resume(hub: Hub, after: Position, snapshot: Snapshot, reason: str | None = None) -> Beginning:
    batches: Iterable[Batch] = parts(snapshot.messages) if snapshot.messages else ()
    # Where no message moves the position, it is moved here: a client whose connections are all
    # shorter than a heartbeat would else come with an older position each time.
    moved = None if snapshot.messages else snapshot.clock
    reason = reason or snapshot.reason
    if reason is None:
        return Beginning(moved or after, snapshot.clock, batches)
    hub.reports.reset(reason)
    # A client that is cut between `ready` and `reset` must be told again.
    batches = itertools.chain([control.reset(reason, moved)], batches)
    return Beginning(min(after, snapshot.clock), snapshot.clock, batches)


def _with_backlog(hub: Hub, snapshot: Snapshot) -> Beginning:
    if snapshot.reason is not None:
        return _reset(hub, snapshot.reason, snapshot.clock, snapshot.clock)
    first = snapshot.messages[0].id if snapshot.messages else None
    if first is None:
        return Beginning(snapshot.clock, snapshot.clock)
    return Beginning(first.before, snapshot.clock, parts(snapshot.messages))


def _of_unknown_run(
    hub: Hub, after: Position | None, snapshot: Snapshot, reason: str | None
) -> Beginning:
    """Begin with a run that has not begun, or with what Redis has not evicted of one that has."""
    if after is None and reason is None and not snapshot.messages:
        return Beginning(snapshot.clock, snapshot.clock)
    messages = joined(snapshot.messages)
    return _resume(
        hub, after or BEGINNING, dataclasses.replace(snapshot, messages=messages), reason
    )


def _await_end(asked: Asked) -> None:
    """Take note that the run has begun, of which this worker may not receive anything more."""
    if isinstance(asked.subscription, Finite):
        asked.subscription.has_begun = True


def _with_state(asked: Asked) -> Beginning:
    """Begin with the newest value of each key; with history, where that covers the cursor."""
    hub, is_numbered = asked.hub, asked.subscription.numbered
    history = reason = None
    if is_numbered and (after := asked.after) is not None:
        history = asked.history(after)
        if history.reason is None:
            return _resume(hub, after, history)
        reason = history.reason
    elif is_numbered and asked.last_event_id:
        reason = "unknown id"
    state = asked.history(None)
    # Events that were kept after a loss are given, too; those after the clock arrive live.
    clock = state.clock if history is None else min(history.clock, state.clock)
    given = [*state.messages, *(history.messages if history is not None else ())]
    messages = sorted({id: one for one in given if (id := one.id) and id <= clock}.items())
    first: list[Batch] = []
    if reason := reason or state.reason:
        hub.reports.reset(reason)
        first.append(control.reset(reason))
    # Values may be older than any history.  So `ready` has no position, and a client that is cut
    # before it has all of them begins anew; the last frame takes it to the present.
    last = [control.heartbeat(clock)] if is_numbered else []
    values = parts([message for _, message in messages])
    return Beginning(None, clock, itertools.chain(first, values, last))


def _with_all(asked: Asked) -> Beginning:
    """Begin with all that the newest run has come to, or with what of it is new to the client."""
    hub, after = asked.hub, asked.after
    [channel] = asked.channels
    log = hub.broker.runs.look(channel.name)
    reason = "unknown id" if asked.last_event_id and after is None else None
    if log.started is None:
        # One that begins after this moment is live.
        snapshot = asked.history(after or BEGINNING)
        log = hub.broker.runs.look(channel.name)
        if log.started is None:
            if any(comes_to(message) == BEGUN for message in snapshot.messages):
                _await_end(asked)
            return _of_unknown_run(hub, after, snapshot, reason)
    _await_end(asked)
    if after is not None:
        snapshot = asked.history(after)
        reason = snapshot.reason
    if after is None or reason is not None:
        # The page begins anew, and needs all of it.
        after = log.started
        snapshot = asked.history(after)
        reason = reason or snapshot.reason
    messages = joined(snapshot.messages)
    if log.ended is not None and snapshot.clock >= log.ended and not any(map(end_of, messages)):
        # The client has had the marker, or Redis has evicted it; a newer run has one of its own.
        # The marker is live if history was read, for another client, before the end.
        if not messages or (messages[-1].id or log.ended) < log.ended:
            messages.append(Message.numbered(channel.name, marker(log.state), log.ended))
    return _resume(hub, after, dataclasses.replace(snapshot, messages=messages), reason)
