"""What an application may ask of Redis: what is kept, what is now, and who is there."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from .broker import Broker
from .channels import Channel, written
from .exceptions import FieldError
from .outgoing import name
from .wire import Position
from .workers.worker import EVERYWHERE


class HistoricEvent(NamedTuple):
    """An event as it was emitted: its id, channel, SSE event name, and data."""

    id: str
    channel: str
    event: str | None
    data: Any


class Asking:
    """Questions to a broker.  Each raises `BrokerError` without Redis."""

    @property
    def broker(self) -> Broker:
        """Redis' side."""
        raise NotImplementedError

    def history(
        self, channel: str, *, after: str | None = None, limit: int = 100
    ) -> list[HistoricEvent]:
        """Return what is kept of a channel (or a pattern): the last `limit`, oldest first.

        `after`: an id; then the first `limit` after it.  Raises `BrokerError` without Redis.
        """
        parsed = Channel.parse(written(channel))
        cursor = Position.parse(after) if after is not None else None
        if after is not None and cursor is None:
            raise FieldError(f"after= takes an id like '1795420087121-0', not {after!r}.")
        if not isinstance(limit, int) or limit < 1:
            raise FieldError(f"limit= must be a whole number, 1 or more, not {limit!r}.")
        if not self.broker.numbered:
            return []
        snapshot = self.broker.replay([parsed], after=cursor, last=limit, limit=limit)
        return [
            HistoricEvent(str(message.id), message.channel, message.event, message.value)
            for message in snapshot.messages[:limit]
        ]

    def position(self) -> str | None:
        """Return "now" as an id (None without history), in one round trip.

        Read it before a page's own queries, and let the page's stream begin there: then no event is
        in neither.
        """
        return str(self.broker.replay(()).clock) if self.broker.numbered else None

    def present(self, channel: str) -> dict[str, int]:
        """Return who is on a channel: identity -> number of streams, over all workers.

        0 streams: the identity has left, and may be back in a moment.
        """
        return self.broker.people.present(name(channel))

    def run_status(self, channel: str) -> str:
        """Return "pending", "running", "finished", "failed", "stopped" or "lost"."""
        return self.broker.runs.look(name(channel)).state or "pending"

    def clients(self) -> dict[str, int]:
        """Return all identities that have streams, with their numbers, over all workers."""
        return self.broker.people.present(EVERYWHERE)

    def workers(self) -> list[dict[str, Any]]:
        """Return what each worker says of itself."""
        return [json.loads(text) for text in self.broker.people.leases()]
