"""What is kept of a channel, for the application to read."""

from __future__ import annotations

from typing import Any, NamedTuple

from .broker import Broker
from .channels import Channel
from .exceptions import FieldError
from .wire.message import Position


class HistoricEvent(NamedTuple):
    """An event as it was emitted: its id, channel, SSE event name, and data."""

    id: str
    channel: str
    event: str | None
    data: Any


def read_history(
    broker: Broker, channel: str, *, after: str | None, limit: int
) -> list[HistoricEvent]:
    """Read the last `limit` events of a channel or pattern, or the first ones after an id."""
    parsed = Channel.parse(channel)
    cursor = Position.parse(after) if after is not None else None
    if after is not None and cursor is None:
        raise FieldError(f"after= takes an id like '1795420087121-0', not {after!r}.")
    if not isinstance(limit, int) or limit < 1:
        raise FieldError(f"limit= must be a whole number, 1 or more, not {limit!r}.")
    if not broker.numbered:
        return []
    snapshot = broker.replay([parsed], after=cursor, last=limit)
    return [
        HistoricEvent(str(message.id), message.channel, message.event, message.value)
        for message in snapshot.messages[:limit]
    ]
