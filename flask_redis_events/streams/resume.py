"""Where a stream begins: now, after the id that a browser came back with, or a few messages ago.

`ready` carries a position before the history that follows it, so that a client which loses the
connection in between gets all of it again.
"""

from __future__ import annotations

from typing import NamedTuple

from ..broker.coverage import Snapshot
from ..channels import Channel
from ..clients import Subscription
from ..hub import Hub
from ..wire import Batch, Position, control


class Beginning(NamedTuple):
    """What `ready` says, and what follows it before anything live."""

    position: Position | None = None
    floor: Position | None = None
    batches: tuple[Batch, ...] = ()


def begin_at_once(
    hub: Hub,
    subscription: Subscription,
    channels: frozenset[Channel],
    last_event_id: str | None = None,
    backlog: int = 0,
) -> Beginning | None:
    """Find where a held subscription that is live begins; None if Redis has to be asked.

    `backlog` is how many of the channels' last messages a first connect gets.
    """
    now = subscription.floor
    if not hub.broker.numbered and last_event_id:
        # The client got its id while there was a history.
        return _reset(hub, "no history", None, now)
    if not subscription.numbered:
        return Beginning(None, now)
    if last_event_id:
        after = Position.parse(last_event_id)
        if after is None:
            return _reset(hub, "unknown id", now, now)
        remembered = hub.replays.from_memory(channels, after)
        return None if remembered is None else _resume(hub, after, remembered)
    return None if backlog or subscription.subscribed_at is not None else Beginning(now, now)


def begin_from_redis(
    hub: Hub,
    subscription: Subscription,
    channels: frozenset[Channel],
    last_event_id: str | None = None,
    backlog: int = 0,
) -> Beginning:
    """Ask Redis for the same; may raise `BrokerError`, and may take as long as Redis does."""
    after = Position.parse(last_event_id) if last_event_id else None
    if after is not None:
        return _resume(hub, after, hub.replays.after(subscription, channels, after))
    if backlog:
        limit = hub.settings.max_replay
        return _with_backlog(hub, hub.broker.replay(channels, last=backlog, max_bytes=limit))
    # This worker may lag behind the moment of the SUBSCRIBE, and what was emitted in between is not
    # promised.
    now = hub.replays.now(subscription, channels)
    return Beginning(now, now)


def _reset(hub: Hub, reason: str, position: Position | None, floor: Position | None) -> Beginning:
    hub.reports.reset(reason)
    return Beginning(position, floor, (control.reset(reason),))


def _resume(hub: Hub, after: Position, snapshot: Snapshot) -> Beginning:
    batches = (Batch(snapshot.messages),) if snapshot.messages else ()
    if snapshot.reason is not None:
        hub.reports.reset(snapshot.reason)
        batches = (control.reset(snapshot.reason), *batches)
    return Beginning(min(after, snapshot.clock), snapshot.clock, batches)


def _with_backlog(hub: Hub, snapshot: Snapshot) -> Beginning:
    if snapshot.reason is not None:
        return _reset(hub, snapshot.reason, snapshot.clock, snapshot.clock)
    first = snapshot.messages[0].id if snapshot.messages else None
    if first is None:
        return Beginning(snapshot.clock, snapshot.clock)
    return Beginning(first.before, snapshot.clock, (Batch(snapshot.messages),))
