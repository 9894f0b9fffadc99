"""Where a stream begins: now, after the id that a browser came back with, or a few messages ago."""

from __future__ import annotations

from typing import NamedTuple

from ..broker.base import Snapshot
from ..channels import Channel
from ..clients.subscription import Subscription
from ..hub import Hub
from ..wire import control
from ..wire.message import Batch, Position


class Beginning(NamedTuple):
    """What `ready` says, and what follows it before anything live."""

    position: Position | None
    floor: Position | None
    batches: list[Batch]


def begin(
    hub: Hub,
    inbox: Subscription,
    channels: frozenset[Channel],
    *,
    last_event_id: str | None = None,
    backlog: int = 0,
) -> Beginning:
    """Find the beginning of a held subscription that is live; may raise `BrokerError`.

    `ready` carries a position before the history that follows it, so that a client which loses the
    connection in between gets all of it again.
    """
    found = begin_at_once(hub, inbox, channels, last_event_id=last_event_id, backlog=backlog)
    if found is not None:
        return found
    after = Position.parse(last_event_id) if last_event_id else None
    if after is not None:
        return _resume(hub, after, hub.replays.after(inbox, channels, after))
    if backlog:
        return _with_backlog(hub.broker.replay(channels, last=backlog))
    # This worker may lag behind the moment of the SUBSCRIBE, and what was emitted in between is not
    # promised.
    now = hub.broker.replay(()).clock
    # Where nothing was, the next one need not ask.
    hub.vouch(inbox, channels, now)
    return Beginning(now, now, [])


def begin_at_once(
    hub: Hub,
    inbox: Subscription,
    channels: frozenset[Channel],
    *,
    last_event_id: str | None = None,
    backlog: int = 0,
) -> Beginning | None:
    """Find the beginning without Redis; None if it has to be asked."""
    now = inbox.floor
    if not hub.broker.numbered and last_event_id:
        # It had an id while there was a history.
        return _reset(hub, "no history", None, now)
    if not inbox.numbered:
        return Beginning(None, now, [])
    after = Position.parse(last_event_id) if last_event_id else None
    if last_event_id and after is None:
        return _reset(hub, "unknown id", now, now)
    if after is not None:
        remembered = hub.replays.from_memory(channels, after)
        return None if remembered is None else _resume(hub, after, remembered)
    return None if backlog or inbox.waited_until is not None else Beginning(now, now, [])


def _reset(hub: Hub, reason: str, position: Position | None, floor: Position | None) -> Beginning:
    hub.report_reset(reason)
    return Beginning(position, floor, [control.reset(reason, None)])


def _resume(hub: Hub, after: Position, snapshot: Snapshot) -> Beginning:
    batches = [Batch(snapshot.messages)] if snapshot.messages else []
    if snapshot.reason is not None:
        hub.report_reset(snapshot.reason)
        batches.insert(0, control.reset(snapshot.reason, None))
    return Beginning(min(after, snapshot.clock), snapshot.clock, batches)


def _with_backlog(snapshot: Snapshot) -> Beginning:
    if not snapshot.messages:
        return Beginning(snapshot.clock, snapshot.clock, [])
    before = snapshot.messages[0].prev or snapshot.clock
    return Beginning(before, snapshot.clock, [Batch(snapshot.messages)])
